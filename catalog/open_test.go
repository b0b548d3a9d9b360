package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
)

// holdTx begins a transaction that runs sql, and stays open.
func holdTx(t *testing.T, pool *pgxpool.Pool, sql string) {
	t.Helper()
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	if _, err := tx.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

// TestOpenTakesNoLockOfTablesThatAreUpToDate: whatever is locked, a process can start.
func TestOpenTakesNoLockOfTablesThatAreUpToDate(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	key := catalog.WithKeys(catalog.FixedKeys{testKey(t, "k")})
	open(t, dsn, key)
	pool := admin(t, dsn)
	holdTx(t, pool, "select pg_advisory_lock(hashtextextended('tenantry/catalog/tables', 0))") // any tenant's role may
	holdTx(t, pool, "lock table tenantry.migrations in exclusive mode")
	holdTx(t, pool, "select from tenantry.servers for update")
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second) // less than Open would wait for a lock
	defer cancel()
	c, err := catalog.Open(ctx, dsn, key)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// TestOpenWaitsForOtherMigrationsOfItsTablesWithALimit, and says who keeps it.
func TestOpenWaitsForOtherMigrationsOfItsTablesWithALimit(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	pool := admin(t, dsn)
	mustExec(t, pool, "create schema tenantry; create table tenantry.migrations (id varchar(255) primary key)")
	holdTx(t, pool, "lock table tenantry.migrations in exclusive mode")
	_, err := catalog.Open(t.Context(), dsn, catalog.WithKeys(catalog.FixedKeys{testKey(t, "k")}))
	mustSay(t, err, "55P03", "10s", "process ")
}

// TestProcessesThatStartTogetherMakeTheTablesOnce.
func TestProcessesThatStartTogetherMakeTheTablesOnce(t *testing.T) {
	t.Parallel()
	dsn, key := pgtest.Database(t), testKey(t, "k")
	errs := make([]error, 8)
	var group sync.WaitGroup
	for i := range errs {
		group.Go(func() {
			c, err := catalog.Open(t.Context(), dsn, catalog.WithKeys(catalog.FixedKeys{key}))
			if err == nil {
				err = c.Close()
			}
			errs[i] = err
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	if n := one[int](t, admin(t, dsn), "select count(*)::int from tenantry.identity"); n != 1 {
		t.Errorf("%d identities", n)
	}
}

// TestANotificationCostsTheSameHoweverManyTenantsAreKnown: anybody who may connect can
// send them.
func TestANotificationCostsTheSameHoweverManyTenantsAreKnown(t *testing.T) {
	t.Parallel()
	c, _, dsn := service(t)
	pool := admin(t, dsn)
	create(t, c, catalog.New{ID: "acme"})
	eventually(t, "the catalog listens", func() bool { return c.Stats().Listening })
	heard := func() time.Duration {
		start := time.Now()
		name := unique("heard")
		mustExec(t, pool, "select count(pg_notify('tenantry', 'No Tenant ' || n)) from generate_series(1, 20000) n")
		mustExec(t, pool, "insert into tenantry.hosts (name, tenant, is_primary) values ($1, 'acme', false)", name)
		eventually(t, "the last change is heard", func() bool {
			_, err := c.Lookup(t.Context(), subdomain(name))
			return err == nil
		})
		return time.Since(start)
	}
	if _, err := c.Lookup(t.Context(), subdomain("acme")); err != nil {
		t.Fatal(err)
	}
	few := heard()
	mustExec(t, pool, `insert into tenantry.tenants (id, name, state, kind, server, cluster, database, schema)
		select 'many-' || n, '', 'active', 'schema', server, cluster, database, 'many_' || n from tenantry.tenants, generate_series(1, 5000) n where id = 'acme'`)
	var group sync.WaitGroup
	for worker := range 50 { // together, so that one query reads many of them
		group.Go(func() {
			for n := range 100 {
				if _, err := c.Lookup(t.Context(), idRef(fmt.Sprintf("many-%d", 100*worker+n+1))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if known := c.Stats().Known; known < 4500 { // notifications of the inserts may still come in
		t.Fatalf("%d are known", known)
	}
	if many := heard(); many > 5*few+2*time.Second {
		t.Errorf("20,000 notifications took %s with one tenant and %s with 5,000", few, many)
	}
	mustExec(t, pool, "delete from tenantry.tenants where id like 'many-%'")
}
