package catalog_test

import (
	"testing"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
)

// TestARoleMayUseTheSharedSchemas, and what is in them as far as it was granted.
func TestARoleMayUseTheSharedSchemas(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	pool := admin(t, dsn)
	execute(t, pool, `create schema lib; create schema other_lib;
		create function lib.twice(int) returns int language sql as 'select $1 * 2';
		create function other_lib.half(int) returns int language sql as 'select $1 / 2';
		create table lib.keys (id int)`)
	c := open(t, dsn, catalog.WithRoles(), catalog.WithSharedSchemas("lib", "other_lib"))
	db, tenant := use(t, dsn, c, nil), create(t, c, catalog.New{ID: unique("shares")})
	asTenant := db.WithContext(as(t, tenant.ID.String()))
	var n int
	if err := asTenant.Raw("select twice(half(42))").Scan(&n).Error; err != nil || n != 42 {
		t.Errorf("got %d, %v", n, err)
	}
	for _, sql := range []string{"select * from keys", "create table lib.x (id int)", "create table other_lib.x (id int)"} {
		if err := asTenant.Exec(sql).Error; sqlState(err) != denied {
			t.Errorf("%s: got error %v, want %s", sql, err, denied)
		}
	}
	works(t, db, tenant.ID.String())
	if err := c.Drop(t.Context(), tenant.ID, tenant.ID.String()); err != nil {
		t.Fatal(err)
	}
	if one[bool](t, pool, "select exists (select from pg_roles where rolname = $1)", tenant.Role) {
		t.Error("the role is left")
	}
	one[int](t, pool, "select lib.twice(1)")
}
