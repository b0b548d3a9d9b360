package migrator

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/scope"
)

// Tenant is one member of the fleet.
type Tenant struct {
	ID scope.Tenant

	// Incarnation tells two tenants of one id apart, one after the other: what the
	// ledger knows of the first says nothing about the second. Empty if ids are
	// never used twice.
	Incarnation string

	// Server is where the tenant lives, for the limit per server and for
	// selections. Empty if there is only one.
	Server string

	// Labels are what the tenant can be selected by.
	Labels map[string]string
}

// Tenants lists the fleet: all tenants that migrations are for, not only those of
// one run, which [Only] selects. A catalog.Catalog is one, and so is a [List]. An
// error ends the list, and nothing is migrated.
type Tenants interface {
	Tenants(ctx context.Context) iter.Seq2[Tenant, error]
}

// Administered is a list of tenants that knows who owns their tables, where that is not
// who the *gorm.DB logs in as. A catalog.Catalog with a serving role is one.
type Administered interface {
	Tenants

	// Direct returns the connection that migrations and the ledger use, as [WithDirect]
	// would set it, which outranks it; nil for the *gorm.DB's own.
	Direct() (*pgxpool.Config, error)
}

// List is a fixed list of tenants.
type List []scope.Tenant

// Tenants yields the tenants in order.
func (l List) Tenants(context.Context) iter.Seq2[Tenant, error] {
	return func(yield func(Tenant, error) bool) {
		for _, t := range l {
			if !yield(Tenant{ID: t}, nil) {
				return
			}
		}
	}
}

// collect reads the list to its end.
func collect(ctx context.Context, tenants Tenants) ([]Tenant, error) {
	var fleet []Tenant
	seen := map[scope.Tenant]bool{}
	for t, err := range tenants.Tenants(ctx) {
		switch {
		case err != nil:
			return nil, fmt.Errorf("migrator: list the tenants: %w", err)
		case t.ID.IsZero():
			return nil, fmt.Errorf("migrator: tenant %d of the list: %w", len(fleet), scope.ErrNone)
		case seen[t.ID]:
			continue
		}
		seen[t.ID] = true
		fleet = append(fleet, t)
	}
	return fleet, nil
}

// Selection selects tenants: those for which everything holds that it says. The
// zero value selects all.
type Selection struct {
	IDs     []scope.Tenant    // these; none is any
	States  []State           // in one of these states by the ledger; none is any
	Servers []string          // on one of these; none is any
	Labels  map[string]string // with all these labels and values
	First   int               // only so many of them, in the order of the list; 0 is all
}

// isZero reports whether s selects all.
func (s Selection) isZero() bool {
	return len(s.IDs) == 0 && len(s.States) == 0 && len(s.Servers) == 0 && len(s.Labels) == 0 && s.First == 0
}

// moves reports whether s selects other tenants as soon as a run has begun.
func (s Selection) moves() bool { return len(s.States) > 0 || s.First > 0 }

// check refuses what can't be meant.
func (s Selection) check(fleet []Tenant) error {
	if s.First < 0 {
		return fmt.Errorf("migrator: a selection of the first %d tenants", s.First)
	}
	for _, state := range s.States {
		if !slices.Contains([]State{Pending, Running, Current, Failed}, state) {
			return fmt.Errorf("migrator: there is no state %q", state)
		}
	}
	for _, id := range s.IDs {
		if !slices.ContainsFunc(fleet, func(t Tenant) bool { return t.ID == id }) {
			return fmt.Errorf("migrator: tenant %q is selected, but it is not in the fleet", id)
		}
	}
	return nil
}

// selects reports whether t is selected, apart from States and First.
func (s Selection) selects(t Tenant) bool {
	for name, value := range s.Labels {
		if got, ok := t.Labels[name]; !ok || got != value {
			return false
		}
	}
	return (len(s.IDs) == 0 || slices.Contains(s.IDs, t.ID)) &&
		(len(s.Servers) == 0 || slices.Contains(s.Servers, t.Server))
}
