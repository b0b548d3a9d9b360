package isolation

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/scope"
)

// Entry is a row of the one table that every tenant has.
type Entry struct {
	ID     int64
	Tenant string
	N      int64
	Note   []byte
}

// seedRows is how many rows each tenant begins with.
const seedRows = 10

// The columns stand in another order in every other place, as after a migration
// that is half rolled out.
const (
	columns          = "id bigserial primary key, tenant text not null, n bigint not null default 0, note bytea"
	reorderedColumns = "note text, n bigint not null default 0, extra text default 'x', tenant text not null, id bigserial primary key"
)

// Setup makes n tenants, t00 and so on, and fills a schema for each in the
// database of admin, BySchema's default.
func Setup(t testing.TB, admin *pgxpool.Pool, n int) []Place {
	t.Helper()
	places := make([]Place, n)
	for i := range places {
		tenant, err := scope.Parse(fmt.Sprintf("t%02d", i))
		if err != nil {
			t.Fatal(err)
		}
		places[i] = Place{Tenant: tenant, Admin: admin, Schema: "tenant_" + tenant.String()}
	}
	Fill(t, places)
	return places
}

// Fill makes the table with some rows in every place, and its schema if there is
// none. The same table lies in public of each database too, unless a tenant
// lives there, with rows that belong to nobody: whoever falls back to it is seen.
// So the places of one database must have the same Admin and be filled at once.
func Fill(t testing.TB, places []Place) {
	t.Helper()
	inhabited := make(map[*pgxpool.Pool]bool) // whether a tenant lives in public
	for i, p := range places {
		layout := columns
		if i%2 == 1 {
			layout = reorderedColumns
		}
		create(t, p, p.Tenant.String(), layout)
		inhabited[p.Admin] = inhabited[p.Admin] || p.Schema == "public"
	}
	for admin, ok := range inhabited {
		if !ok {
			create(t, Place{Admin: admin, Schema: "public"}, "nobody", columns)
		}
	}
}

func create(t testing.TB, p Place, owner, layout string) {
	t.Helper()
	for _, sql := range []string{
		"create schema if not exists " + pgx.Identifier{p.Schema}.Sanitize(),
		fmt.Sprintf("create table %s (%s)", p.table(), layout),
		fmt.Sprintf("insert into %s (tenant, n) select '%s', g from generate_series(1, %d) g", p.table(), owner, seedRows),
	} {
		if _, err := p.Admin.Exec(context.Background(), sql); err != nil {
			t.Fatal(err)
		}
	}
}
