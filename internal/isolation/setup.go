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

// Schema returns the tenant's quoted schema name, BySchema's default.
func Schema(t scope.Tenant) string { return pgx.Identifier{"tenant_" + t.String()}.Sanitize() }

// Setup makes n tenants with a schema and some rows each. The same table lies in
// public too, with rows that belong to nobody: whoever falls back to it is seen.
// Columns stand in another order in every other schema, as after a migration
// that is half rolled out.
func Setup(t testing.TB, admin *pgxpool.Pool, n int) []scope.Tenant {
	t.Helper()
	tenants := make([]scope.Tenant, n)
	create(t, admin, "public", "nobody", "id bigserial primary key, tenant text not null, n bigint not null default 0, note bytea")
	for i := range tenants {
		tenant, err := scope.Parse(fmt.Sprintf("t%02d", i))
		if err != nil {
			t.Fatal(err)
		}
		tenants[i] = tenant
		columns := "id bigserial primary key, tenant text not null, n bigint not null default 0, note bytea"
		if i%2 == 1 {
			columns = "note text, n bigint not null default 0, extra text default 'x', tenant text not null, id bigserial primary key"
		}
		create(t, admin, Schema(tenant), tenant.String(), columns)
	}
	return tenants
}

func create(t testing.TB, admin *pgxpool.Pool, schema, tenant, columns string) {
	t.Helper()
	ctx := context.Background()
	for _, sql := range []string{
		"create schema if not exists " + schema,
		fmt.Sprintf("create table %s.entries (%s)", schema, columns),
		fmt.Sprintf("insert into %s.entries (tenant, n) select '%s', g from generate_series(1, %d) g", schema, tenant, seedRows),
	} {
		if _, err := admin.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
}
