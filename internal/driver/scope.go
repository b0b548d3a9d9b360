package driver

import (
	"context"
	"fmt"

	"github.com/tenantry/tenantry/scope"
)

// Scope is what a statement's context names: one tenant or the shared part.
type Scope struct {
	Tenant scope.Tenant
	Shared bool
}

// errNoScope is scope.ErrNone with what to do about it.
var errNoScope = fmt.Errorf("%w: name one with scope.With, or scope.Shared for tables that belong to none, and pass the context on with db.WithContext", scope.ErrNone)

// scopeOf returns the scope of ctx. There is no default: a context that names
// nothing is an error.
func scopeOf(ctx context.Context) (Scope, error) {
	if scope.IsShared(ctx) {
		return Scope{Shared: true}, nil
	}
	t, err := scope.From(ctx)
	if err != nil {
		return Scope{}, errNoScope
	}
	return Scope{Tenant: t}, nil
}
