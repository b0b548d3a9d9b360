package migrator

import (
	"context"
	"iter"

	"github.com/tenantry/tenantry/scope"
)

// Tenants lists the tenants to migrate. An error ends the list; the tenants
// before it are migrated.
type Tenants interface {
	Tenants(ctx context.Context) iter.Seq2[scope.Tenant, error]
}

// List is a fixed list of tenants.
type List []scope.Tenant

// Tenants yields the tenants in order.
func (l List) Tenants(context.Context) iter.Seq2[scope.Tenant, error] {
	return func(yield func(scope.Tenant, error) bool) {
		for _, t := range l {
			if !yield(t, nil) {
				return
			}
		}
	}
}
