package catalog_test

import (
	"context"
	"errors"
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

// TestToInvalidateCostsTheSameHoweverMuchIsKnown: anybody who may connect can send the
// notifications that lead to it. It can't be parallel: it counts allocations.
func TestToInvalidateCostsTheSameHoweverMuchIsKnown(t *testing.T) {
	for _, known := range []int{1, 10_000} {
		stale, allocs := catalog.InvalidateAll(known)
		if !stale {
			t.Errorf("of %d records some are still fresh", known)
		}
		if allocs > 0 {
			t.Errorf("with %d records it takes %v allocations", known, allocs)
		}
	}
}
