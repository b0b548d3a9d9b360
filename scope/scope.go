package scope

import "context"

// key is the one context key of this package. Its value is a Tenant or shared,
// so that the innermost With or Shared always decides.
type key struct{}

type shared struct{}

// With returns a context under which statements run for t. The zero Tenant
// takes away what ctx carries: From then returns [ErrNone].
func With(ctx context.Context, t Tenant) context.Context {
	return context.WithValue(ctx, key{}, t)
}

// From returns the tenant that ctx carries, or [ErrNone]; a context made by
// [Shared] carries none. From does not allocate.
func From(ctx context.Context) (Tenant, error) {
	t, ok := ctx.Value(key{}).(Tenant)
	if !ok || t == (Tenant{}) {
		return Tenant{}, ErrNone
	}
	return t, nil
}

// Shared returns a context under which statements run on the tables that
// belong to no tenant, such as plans or the catalog. It is the only way there:
// a context without a scope is an error, never the shared part.
func Shared(ctx context.Context) context.Context {
	return context.WithValue(ctx, key{}, shared{})
}

// IsShared reports whether ctx names the shared part, that is, whether Shared
// was called later than any With. It does not allocate.
func IsShared(ctx context.Context) bool {
	_, ok := ctx.Value(key{}).(shared)
	return ok
}
