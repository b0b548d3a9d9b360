package catalog_test

import (
	"fmt"
	"testing"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
)

// copyOf copies the database in dsn, to which nobody may be connected.
func copyOf(t *testing.T, dsn, original string) string {
	t.Helper()
	server, name := admin(t, pgtest.DSN(t)), unique("copy")
	eventually(t, "the last connection ends, and the database is copied", func() bool {
		_, err := server.Exec(t.Context(), fmt.Sprintf("create database %s template %s", name, original))
		return err == nil
	})
	t.Cleanup(func() { execute(t, server, "drop database "+name+" with (force)") })
	return inDatabase(t, dsn, name)
}

// TestACopyOfTheMasterIsNotOpened unless it is told to be the master: the tenants'
// databases are the original's.
func TestACopyOfTheMasterIsNotOpened(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	original := one[string](t, admin(t, dsn), "select current_database()")
	ring, schema, own := catalog.WithKeys(catalog.FixedKeys{testKey(t, "k1")}), unique("schema"), unique("own")
	with := []catalog.Option{ring, catalog.WithMigrations(migrations())}
	first, err := catalog.Open(t.Context(), dsn, with...)
	if err != nil {
		t.Fatal(err)
	}
	create(t, first, catalog.New{ID: schema})
	create(t, first, ownDatabase(own))
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nobody is connected", func() bool {
		return one[int](t, admin(t, pgtest.DSN(t)), "select count(pg_terminate_backend(pid))::int from pg_stat_activity where datname = $1", original) == 0
	})
	second := copyOf(t, dsn, original)
	c := open(t, dsn, ring) // drops the tenants in the end
	for range 2 {
		_, err := catalog.Open(t.Context(), second, with...)
		mustBe(t, err, catalog.ErrMoved)
		mustSay(t, err, original, nameIn(t, second), "catalog.WithMovedMaster", "never open a copy")
	}
	for _, opts := range [][]catalog.Option{append(with, catalog.WithMovedMaster()), with} { // and then it is known there
		moved, err := catalog.Open(t.Context(), second, opts...)
		if err != nil {
			t.Fatal(err)
		}
		works(t, use(t, second, moved, nil), schema)
		if got := serversNamed(t, moved)[catalog.Main].Database; got != nameIn(t, second) {
			t.Errorf("it is in database %q", got)
		}
		if err := moved.Close(); err != nil {
			t.Error(err)
		}
	}
	works(t, use(t, dsn, c, nil), own)
	works(t, use(t, dsn, c, nil), schema)
}

func TestAMasterOnAnotherServerIsOpenedIfItMovedThere(t *testing.T) {
	t.Parallel()
	dsn, key := pgtest.Database(t), testKey(t, "k1")
	c, id := open(t, dsn, catalog.WithKeys(catalog.FixedKeys{key})), unique("moved")
	create(t, c, ownDatabase(id))
	pool := admin(t, dsn)
	here := one[string](t, pool, "select cluster from tenantry.servers")
	execute(t, pool, "update tenantry.databases set cluster = 'there'")
	_, err := catalog.Open(t.Context(), dsn, catalog.WithKeys(catalog.FixedKeys{key}))
	mustBe(t, err, catalog.ErrMoved)
	mustSay(t, err, here, "there", "catalog.WithMovedMaster")
	next := open(t, dsn, catalog.WithKeys(catalog.FixedKeys{key}), catalog.WithMovedMaster())
	works(t, use(t, dsn, next, nil), id)
	if n := one[int](t, pool, "select count(*)::int from tenantry.databases where cluster <> $1", here); n > 0 {
		t.Errorf("%d databases are elsewhere", n)
	}
	works(t, use(t, dsn, bare(t, dsn, key), nil), id)
}
