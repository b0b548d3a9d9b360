package httpmw

import (
	"context"
	"fmt"

	"github.com/tenantry/tenantry/scope"
)

// Directory says which tenant a request names.
type Directory interface {
	// Lookup returns the tenant that ref stands for. It returns an error that
	// matches [ErrUnknown] when there is none, also for a kind that it does not
	// know, and one that matches [ErrSuspended] when the tenant must not be
	// served. An error that matches no error of this package is a failure of the
	// directory, and so is the zero Tenant without an error.
	//
	// It is called for every request, from many goroutines at the same time. ctx
	// is the request's context.
	Lookup(ctx context.Context, ref Ref) (scope.Tenant, error)
}

// Fixed returns a directory of the given tenants, for tests and for services
// whose tenants are known when they start. A subdomain stands for the tenant
// whose id it is. It knows no custom domains ([KindHost]).
func Fixed(tenants ...scope.Tenant) Directory {
	known := make(fixed, len(tenants))
	for _, t := range tenants {
		known[t] = true
	}
	return known
}

type fixed map[scope.Tenant]bool

func (f fixed) Lookup(_ context.Context, ref Ref) (scope.Tenant, error) {
	switch ref.Kind {
	case KindID, KindSubdomain:
		if t, err := scope.Parse(ref.Value); err == nil && f[t] {
			return t, nil
		}
	}
	return scope.Tenant{}, fmt.Errorf("%w: %s", ErrUnknown, ref)
}
