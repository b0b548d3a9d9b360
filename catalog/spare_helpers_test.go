package catalog_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/catalog"
)

// brief opens a catalog that the test closes, and that leaves what there is to another
// one.
func brief(t *testing.T, dsn string, opts ...catalog.Option) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Open(t.Context(), dsn, append([]catalog.Option{catalog.WithMigrations(migrations())}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// stocked waits until the master's own server has n spares.
func stocked(t testing.TB, c *catalog.Catalog, n int) {
	t.Helper()
	stockedOn(t, c, catalog.Main, n)
}

func stockedOn(t testing.TB, c *catalog.Catalog, server string, n int) {
	t.Helper()
	eventually(t, "the spares are made", func() bool { return serversNamed(t, c)[server].Spares == n })
}

// mustMatchWithSpares is mustMatch where spares are kept.
func mustMatchWithSpares(t testing.TB, c *catalog.Catalog, pool *pgxpool.Pool) {
	t.Helper()
	got, want := objects(t, pool, identity(t, pool), "nobody's"), promised(t, c, catalog.Main)
	want = append(want, one[[]string](t, pool, `select coalesce(array_agg(kind || ' ' || name), '{}') from tenantry.spares where server = 'main'`)...)
	want = append(want, one[[]string](t, pool, `select coalesce(array_agg('role ' || role), '{}') from tenantry.spares where server = 'main' and role is not null`)...)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("there are %q, want %q", got, want)
	}
}

// dropSpares drops what the spares of the master in dsn would leave behind. Its catalogs are closed.
func dropSpares(t testing.TB, dsn string) {
	t.Helper()
	pool, err := pgxpool.New(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	for _, name := range one[[]string](t, pool, "select coalesce(array_agg(name), '{}') from tenantry.spares") {
		quoted := pgx.Identifier{name}.Sanitize()
		execute(t, pool, "drop database if exists "+quoted+" with (force)")
		execute(t, pool, "drop schema if exists "+quoted+" cascade")
		execute(t, pool, "do $$ begin if to_regrole('"+name+"') is not null then drop owned by "+name+"; drop role "+name+"; end if; end $$")
	}
}

// mustHaveMark checks the marks of those objects of a tenant that are on the server and in the
// database of dsn.
func mustHaveMark(t *testing.T, dsn string, tenant catalog.Tenant) {
	t.Helper()
	pool := admin(t, dsn)
	marks := one[[]string](t, pool, `select coalesce(array_agg(distinct mark), '{}') from (
		select obj_description(oid, 'pg_namespace') from pg_namespace where nspname = $1
		union all select shobj_description(oid, 'pg_database') from pg_database where datname = $2
		union all select shobj_description(oid, 'pg_authid') from pg_roles where rolname = $3) m (mark) where mark is not null`,
		tenant.Schema, tenant.Database, tenant.Role)
	want := "tenantry " + identity(t, pool) + " tenant " + tenant.ID.String()
	if tenant.Kind == catalog.OwnSchema && tenant.Server != catalog.Main && tenant.Role == "" {
		return // it is in another database
	}
	marks = slices.DeleteFunc(marks, func(m string) bool { return !strings.HasPrefix(m, "tenantry ") && m != "" })
	if !slices.Equal(marks, []string{want}) {
		t.Errorf("the marks are %q, want %q", marks, want)
	}
}

func mustBeSpare(t testing.TB, tenant catalog.Tenant) {
	t.Helper()
	if !isSpare(tenant) {
		t.Errorf("%s has not taken a spare: %s.%s", tenant.ID, tenant.Database, tenant.Schema)
	}
}

func isSpare(tenant catalog.Tenant) bool {
	return strings.HasPrefix(tenant.Database, "spare_") || strings.HasPrefix(tenant.Schema, "spare_")
}

// mustBeGone checks that nothing on the server and in the database of pool bears one
// of the names.
func mustBeGone(t testing.TB, pool *pgxpool.Pool, names []string) {
	t.Helper()
	for _, left := range one[[]string](t, pool, `select coalesce(array_agg(name), '{}') from (
		select nspname from pg_namespace union all select datname from pg_database union all select rolname from pg_roles
		) o (name) where name = any ($1)`, names) {
		t.Errorf("%s is left", left)
	}
}
