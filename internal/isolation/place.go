package isolation

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/scope"
)

// Place is where one tenant lives.
type Place struct {
	Tenant scope.Tenant
	Admin  *pgxpool.Pool // direct, to the tenant's database; the caller closes it
	Schema string        // unquoted; public for a tenant that has the database to itself
}

// table returns the place's quoted table.
func (p Place) table() string { return pgx.Identifier{p.Schema, "entries"}.Sanitize() }

// home is a place during a run.
type home struct {
	Place
	database string
	written  ledger // guarded by the run's mu
}

// ledger counts a tenant's rows: those that were surely committed, and those of
// which a killed connection left it open.
type ledger struct{ sure, unsure int64 }

// homes asks each place what its database is called.
func homes(t testing.TB, places []Place) []*home {
	t.Helper()
	all := make([]*home, len(places))
	for i, p := range places {
		all[i] = &home{Place: p}
		if err := p.Admin.QueryRow(context.Background(), "select current_database()").Scan(&all[i].database); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// count returns how many rows of the tenant and of others lie in its place.
func (h *home) count() (own, foreign int64, err error) {
	sql := fmt.Sprintf("select count(*) filter (where tenant = $1), count(*) filter (where tenant <> $1) from %s", h.table())
	err = h.Admin.QueryRow(context.Background(), sql, h.Tenant.String()).Scan(&own, &foreign)
	return own, foreign, err
}
