package driver

import (
	"context"
	"fmt"

	"github.com/tenantry/tenantry/scope"
)

// Scope is what a statement's context names: one tenant, the shared part, or the
// place of a connector that serves one place and no tenant.
type Scope struct {
	Tenant scope.Tenant
	Shared bool
	Place  string // see Connector.Place
}

// placeKey is the context key of WithPlace.
type placeKey struct{}

// WithPlace returns a context without a tenant whose statements run at the place of the
// connector whose Place is name, and at no other connector: a migration that makes a
// spare or a template works for nobody.
func WithPlace(ctx context.Context, name string) context.Context {
	return context.WithValue(scope.With(ctx, scope.Tenant{}), placeKey{}, name)
}

// errNoScope is scope.ErrNone with what to do about it.
var errNoScope = fmt.Errorf("%w: name one with scope.With, or scope.Shared for tables that belong to none, and pass the context on with db.WithContext", scope.ErrNone)

// scopeOf returns the scope of ctx. There is no default: a context that names
// nothing is an error.
func (c *Connector) scopeOf(ctx context.Context) (Scope, error) {
	if scope.IsShared(ctx) {
		return Scope{Shared: true}, nil
	}
	if t, err := scope.From(ctx); err == nil {
		return Scope{Tenant: t}, nil
	}
	if name, _ := ctx.Value(placeKey{}).(string); name != "" && name == c.Place {
		return Scope{Place: name}, nil
	}
	return Scope{}, errNoScope
}

// describe makes err an error of the scope: what was tried, and for whom.
func (s Scope) describe(op string, err error) error {
	if s.Place != "" {
		return fmt.Errorf("tenantry: %s at %s: %w", op, s.Place, err)
	}
	return &scope.TenantError{Op: op, Tenant: s.Tenant, Err: err}
}

// mismatch says that a statement of asked came where statements of s run.
func (s Scope) mismatch(asked Scope) error {
	err := &scope.MismatchError{Began: s.Tenant, Asked: asked.Tenant}
	if s.Place != "" {
		return fmt.Errorf("tenantry: %s belongs to no tenant: %w", s.Place, err)
	}
	return err
}

// At is a [Locator] that places one scope at one target, and refuses every other.
type At struct {
	Scope  Scope
	Target Target
}

// Locate returns the target, or a *scope.MismatchError for another scope.
func (a At) Locate(_ context.Context, s Scope) (Target, error) {
	if s != a.Scope {
		return Target{}, a.Scope.mismatch(s)
	}
	return a.Target, nil
}

// On returns a context that names s.
func (s Scope) On(ctx context.Context) context.Context {
	switch {
	case s.Shared:
		return scope.Shared(ctx)
	case s.Place != "":
		return WithPlace(ctx, s.Place)
	}
	return scope.With(ctx, s.Tenant)
}
