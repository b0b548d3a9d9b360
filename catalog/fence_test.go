//go:build unix

package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
)

// held is a process whose work stands still at one step.
type held struct {
	*catalog.Catalog
	reached, goOn chan struct{}
}

// holdAt opens a catalog that stands still at a step, once. The test lets it go on.
func holdAt(t *testing.T, dsn, step string, opts ...catalog.Option) held {
	t.Helper()
	h := held{reached: make(chan struct{}), goOn: make(chan struct{})}
	var once sync.Once
	at := &atStep{step: step, f: func() { once.Do(func() { close(h.reached); <-h.goOn }) }}
	var err error
	if h.Catalog, err = catalog.Open(t.Context(), dsn, append(opts, catalog.WithLogger(slog.New(at)))...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// withoutLock calls work, and when it stands still takes its lock away and calls
// meanwhile. It returns the error of work.
func (h held) withoutLock(t *testing.T, pool *pgxpool.Pool, work func(context.Context) error, meanwhile func()) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- work(context.Background()) }()
	func() {
		defer close(h.goOn) // also if the test ends here
		wait(t, h.reached, done)
		cutLocks(t, pool)
		meanwhile()
	}()
	return <-done
}

// wait waits until work has reached a point, which it must before it is done.
func wait(t *testing.T, reached <-chan struct{}, done <-chan error) {
	t.Helper()
	select {
	case <-reached:
	case err := <-done:
		t.Fatalf("the work ended early: %v", err)
	}
}

// cutLocks ends the connections that hold locks on tenants in the database of pool.
func cutLocks(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	locks := "from (select distinct pid from pg_locks where locktype = 'advisory' and granted and database = (select oid from pg_database where datname = current_database())) l"
	if n := one[int](t, pool, "select count(pg_terminate_backend(pid))::int "+locks); n == 0 {
		t.Error("nobody had a lock")
	}
	eventually(t, "the locks are gone", func() bool { return one[int](t, pool, "select count(*)::int "+locks) == 0 })
}

// broken are migrations that fail.
func broken() migrator.Migrations {
	return then(func(*gorm.DB) error { return errors.New("boom") })
}

func TestAnUndoThatLostItsLockDropsNothingThatWasServed(t *testing.T) {
	t.Parallel()
	for _, kind := range []catalog.Kind{catalog.OwnSchema, catalog.OwnDatabase} {
		for _, state := range []catalog.State{catalog.Active, catalog.Failed} { // as it is when the undo begins
			t.Run(string(kind)+" "+string(state), func(t *testing.T) {
				t.Parallel()
				dsn, ring := pgtest.Database(t), catalog.WithKeys(catalog.FixedKeys{testKey(t, "k1")})
				other, pool := open(t, dsn, ring), admin(t, dsn)
				db := use(t, dsn, other, nil)
				h := holdAt(t, dsn, "catalog: failed", ring, catalog.WithMigrations(broken()))
				id := unique("undone")
				err := h.withoutLock(t, pool, func(ctx context.Context) error {
					_, err := h.Create(ctx, catalog.New{ID: id, Kind: kind})
					return err
				}, func() {
					if err := other.Repair(t.Context(), parse(t, id)); err != nil {
						t.Error(err)
					}
					works(t, db, id)
					execute(t, pool, "update tenantry.tenants set state = $1", state)
				})
				mustSay(t, err, "boom", id, "nothing was dropped")
				mustHaveState(t, other, parse(t, id), state)
				mustMatch(t, other, pool, id)
				execute(t, pool, "update tenantry.tenants set state = 'active'")
				sees(t, other, idRef(id), nil)
				works(t, db, id)
			})
		}
	}
}

func TestADropThatLostItsLockDropsNothingThatIsServed(t *testing.T) {
	t.Parallel()
	for _, kind := range []catalog.Kind{catalog.OwnSchema, catalog.OwnDatabase} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			dsn, ring := pgtest.Database(t), catalog.WithKeys(catalog.FixedKeys{testKey(t, "k1")})
			c, pool := open(t, dsn, ring), admin(t, dsn)
			db, id := use(t, dsn, c, nil), unique("kept")
			create(t, c, catalog.New{ID: id, Kind: kind})
			h := holdAt(t, dsn, "catalog: deleting", ring)
			err := h.withoutLock(t, pool, func(ctx context.Context) error { return h.Drop(ctx, parse(t, id), id) }, func() {
				execute(t, pool, "update tenantry.tenants set state = 'active'")
			})
			mustSay(t, err, id, "nothing was dropped")
			mustHaveState(t, c, parse(t, id), catalog.Active)
			sees(t, c, idRef(id), nil)
			works(t, db, id)
		})
	}
}

// TestALaterTenantOfTheSameIDIsNotTouched by work on the earlier one that lost its
// lock, whatever state the later one is in.
func TestALaterTenantOfTheSameIDIsNotTouched(t *testing.T) {
	t.Parallel()
	for name, old := range map[string]struct {
		step  string
		state catalog.State // that the old work expects
		says  string        // its error, if it has one
		work  func(ctx context.Context, c *catalog.Catalog, id string) error
	}{
		"activated": {"catalog: place made", catalog.Provisioning, "create", func(ctx context.Context, c *catalog.Catalog, id string) error {
			_, err := c.Create(ctx, catalog.New{ID: id})
			return err
		}},
		"erased": {"catalog: deleting", catalog.Deleting, "nothing was dropped", func(ctx context.Context, c *catalog.Catalog, id string) error {
			t, err := c.Create(ctx, catalog.New{ID: id})
			return errors.Join(err, c.Drop(ctx, t.ID, id))
		}},
		"erased after its place": {"catalog: place dropped", catalog.Deleting, "", func(ctx context.Context, c *catalog.Catalog, id string) error {
			t, err := c.Create(ctx, catalog.New{ID: id})
			return errors.Join(err, c.Drop(ctx, t.ID, id))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn, ring := pgtest.Database(t), catalog.WithKeys(catalog.FixedKeys{testKey(t, "k1")})
			c, pool := open(t, dsn, ring), admin(t, dsn)
			db, id := use(t, dsn, c, nil), unique("later")
			h := holdAt(t, dsn, old.step, ring, catalog.WithMigrations(migrations()))
			workErr := h.withoutLock(t, pool, func(ctx context.Context) error { return old.work(ctx, h.Catalog, id) }, func() {
				if err := c.Drop(t.Context(), parse(t, id), id); err != nil {
					t.Error(err)
				}
				create(t, c, catalog.New{ID: id})
				execute(t, pool, "update tenantry.tenants set state = $1, activated_at = null", old.state)
			})
			if old.says != "" && !strings.Contains(fmt.Sprint(workErr), "the lock is lost") { // seen before the old work went on
				mustSay(t, workErr, old.says, id)
			}
			tenant, err := c.Get(t.Context(), parse(t, id))
			if err != nil || tenant.State != old.state || tenant.Failure != "" {
				t.Fatalf("the later tenant is %q because of %q, %v", tenant.State, tenant.Failure, err)
			}
			execute(t, pool, "update tenantry.tenants set state = 'active'")
			sees(t, c, idRef(id), nil)
			works(t, db, id)
			mustMatch(t, c, pool, id)
		})
	}
}

func TestALostLockEndsTheWork(t *testing.T) {
	t.Parallel()
	inside := make(chan struct{})
	c, _, dsn := service(t, catalog.WithMigrations(then(func(tx *gorm.DB) error {
		ctx := tx.Statement.Context
		close(inside)
		<-ctx.Done()
		return context.Cause(ctx)
	})))
	pool, id, done := admin(t, dsn), unique("cut"), make(chan error, 1)
	go func() { _, err := c.Create(t.Context(), ownDatabase(id)); done <- err }()
	wait(t, inside, done)
	cutLocks(t, pool)
	eventually(t, "the work ends", func() bool { return len(done) == 1 })
	mustSay(t, <-done, "the lock is lost", id)
	mustHaveFailed(t, c, pool, id, "the lock is lost")
}

// TestNoTimeoutEndsALock: its transaction is idle for as long as the work takes.
func TestNoTimeoutEndsALock(t *testing.T) {
	t.Parallel()
	dsn, key := pgtest.Database(t), testKey(t, "k1")
	ring, pool := catalog.WithKeys(catalog.FixedKeys{key}), admin(t, dsn)
	execute(t, pool, "alter database "+one[string](t, pool, "select current_database()")+" set idle_in_transaction_session_timeout = '1s'")
	inside, goOn := make(chan struct{}), make(chan struct{})
	proceed := sync.OnceFunc(func() { close(goOn) })
	defer proceed() // also if the test ends early
	c := open(t, dsn, ring, catalog.WithMigrations(then(func(*gorm.DB) error { close(inside); <-goOn; return nil })))
	other, id, done := bare(t, dsn, key), unique("idle"), make(chan error, 1)
	go func() { _, err := c.Create(t.Context(), ownDatabase(id)); done <- err }()
	wait(t, inside, done)
	witness, err := admin(t, dsn).Begin(t.Context()) // idle from now on, and the lock for longer
	if err != nil {
		t.Fatal(err)
	}
	pid := witness.Conn().PgConn().PID()
	eventually(t, "the timeout ends a transaction", func() bool {
		return !one[bool](t, pool, "select exists (select from pg_stat_activity where pid = $1)", pid)
	})
	_ = witness.Rollback(t.Context()) // it has none left
	mustBe(t, other.Repair(t.Context(), parse(t, id)), catalog.ErrBusy)
	proceed()
	if err := <-done; err != nil {
		t.Error(err)
	}
	works(t, use(t, dsn, c, nil), id)
}

func TestRepairNeverDropsWhatWasServed(t *testing.T) {
	t.Parallel()
	for _, kind := range []catalog.Kind{catalog.OwnSchema, catalog.OwnDatabase} {
		for _, state := range []catalog.State{catalog.Provisioning, catalog.Failed} {
			t.Run(string(kind)+" "+string(state), func(t *testing.T) {
				t.Parallel()
				dsn, key := pgtest.Database(t), testKey(t, "k1")
				ring := catalog.WithKeys(catalog.FixedKeys{key})
				c, pool := open(t, dsn, ring), admin(t, dsn)
				db, id := use(t, dsn, c, nil), unique("served")
				create(t, c, catalog.New{ID: id, Kind: kind})
				works(t, db, id)
				execute(t, pool, "update tenantry.tenants set state = $1", state)
				failing := second()
				failing.Migrate = func(*gorm.DB) error { return errors.New("boom") }
				bad := holdAt(t, dsn, "never", ring, catalog.WithMigrations(append(migrations(), failing)))
				for range 2 {
					mustSay(t, bad.Repair(t.Context(), parse(t, id)), "boom", id)
					tenant, err := c.Get(t.Context(), parse(t, id))
					if err != nil || tenant.State != catalog.Failed {
						t.Errorf("the tenant is %s, %v", tenant.State, err)
					}
					mustSay(t, errors.New(tenant.Failure), "boom")
					mustMatch(t, c, pool, id)
				}
				if err := c.Repair(t.Context()); err != nil {
					t.Fatal(err)
				}
				if got := (site{c, db, dsn}).titles(t, id); len(got) != 1 {
					t.Errorf("it has the invoices %q", got)
				}
				works(t, db, id)
			})
		}
	}
}

// TestAPlaceOnAnotherServerThanTheRowsIsForeign changes rows by hand: two servers
// may have databases of one name.
func TestAPlaceOnAnotherServerThanTheRowsIsForeign(t *testing.T) {
	t.Parallel()
	for _, kind := range []catalog.Kind{catalog.OwnSchema, catalog.OwnDatabase} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			dsn, key := pgtest.Database(t), testKey(t, "k1")
			c, pool := open(t, dsn, catalog.WithKeys(catalog.FixedKeys{key})), admin(t, dsn)
			id := unique("where")
			tenant := create(t, c, catalog.New{ID: id, Kind: kind})
			place := func(on string) {
				t.Helper()
				execute(t, pool, "insert into tenantry.databases select $1, $2, $3 on conflict do nothing", on, tenant.Database, kind)
				execute(t, pool, "update tenantry.tenants set cluster = $1", on)
			}
			cluster := one[string](t, pool, "select cluster from tenantry.servers")
			place("other")
			mustBe(t, placed(t, bare(t, dsn, key), id), catalog.ErrForeign)
			mustBe(t, c.Drop(t.Context(), tenant.ID, id), catalog.ErrForeign)
			mustHaveState(t, c, tenant.ID, catalog.Active)
			execute(t, pool, "update tenantry.tenants set state = 'provisioning'")
			mustBe(t, c.Repair(t.Context(), tenant.ID), catalog.ErrForeign)
			mustMatch(t, c, pool, id)
			place(cluster)
			if err := c.Repair(t.Context()); err != nil {
				t.Fatal(err)
			}
			works(t, use(t, dsn, c, nil), id)
		})
	}
}
