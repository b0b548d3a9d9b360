//go:build unix

package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-gormigrate/gormigrate/v2"
	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/isolation"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/scope"
)

// then returns the migrations, of which the first does more in a tenant.
func then(more func(tx *gorm.DB) error) migrator.Migrations {
	m := migrations()
	migrate := m[0].Migrate
	return migrator.Migrations{&gormigrate.Migration{ID: m[0].ID, Migrate: func(tx *gorm.DB) error {
		// without a template, this one runs for databases, too
		if _, err := scope.From(tx.Statement.Context); err != nil {
			return err
		}
		return errors.Join(migrate(tx), more(tx))
	}}}
}

// mustHaveFailed checks that nothing is left of a tenant but a row that says why.
func mustHaveFailed(t *testing.T, c *catalog.Catalog, pool *pgxpool.Pool, id string, words ...string) {
	t.Helper()
	tenant, err := c.Get(t.Context(), parse(t, id))
	if err != nil || tenant.State != catalog.Failed {
		t.Fatalf("the tenant is %q, %v", tenant.State, err)
	}
	for _, w := range words {
		if !strings.Contains(tenant.Failure, w) {
			t.Errorf("the row says %q, without %q", tenant.Failure, w)
		}
	}
	if password := pool.Config().ConnConfig.Password; password != "" && strings.Contains(tenant.Failure, password) {
		t.Error("the row shows the password")
	}
	if _, err := c.Lookup(t.Context(), subdomain(id)); !errors.Is(err, catalog.ErrUnknown) {
		t.Errorf("lookup of a failed tenant: %v", err)
	}
	left := slices.DeleteFunc(objects(t, pool, identity(t, pool), id), func(name string) bool {
		return !strings.Contains(name, " "+strings.ReplaceAll(id, "-", "_")+"_") && !strings.HasSuffix(name, "_new")
	})
	if len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

func TestWhatFailsIsUndoneAndCanBeRepairedOrDropped(t *testing.T) {
	t.Parallel()
	for _, kind := range []catalog.Kind{catalog.OwnSchema, catalog.OwnDatabase} {
		for name, failure := range map[string]struct {
			fail  func(tx *gorm.DB, cancel context.CancelFunc, pool *pgxpool.Pool) error
			words []string
		}{
			"an error": {func(*gorm.DB, context.CancelFunc, *pgxpool.Pool) error { return errors.New("no luck today") }, []string{"1-invoices", "no luck today"}},
			"an error of the server": {func(tx *gorm.DB, _ context.CancelFunc, _ *pgxpool.Pool) error {
				return tx.Exec("create table invoices (id int)").Error
			}, []string{"1-invoices", "42P07"}},
			"a panic":                {func(*gorm.DB, context.CancelFunc, *pgxpool.Pool) error { panic("out of paper") }, []string{"panicked", "out of paper"}},
			"a text that is no text": {func(*gorm.DB, context.CancelFunc, *pgxpool.Pool) error { return errors.New("zero \x00 and \xff bytes") }, []string{"zero", "bytes"}},
			"a context that ends": {func(tx *gorm.DB, cancel context.CancelFunc, _ *pgxpool.Pool) error {
				cancel()
				return tx.Exec("select 1").Error
			}, []string{"canceled"}},
			"a connection that is cut": {func(tx *gorm.DB, _ context.CancelFunc, pool *pgxpool.Pool) error {
				var pid int
				if err := tx.Raw("select pg_backend_pid()").Scan(&pid).Error; err != nil {
					return err
				}
				if _, err := pool.Exec(context.Background(), "select pg_terminate_backend($1)", pid); err != nil {
					return err
				}
				return tx.Exec("select 1").Error
			}, []string{"1-invoices"}},
		} {
			t.Run(string(kind)+" "+name, func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var pool *pgxpool.Pool
				var mended atomic.Bool
				c, db, dsn := service(t, catalog.WithRoles(), catalog.WithMigrations(then(func(tx *gorm.DB) error {
					if mended.Load() {
						return nil
					}
					return failure.fail(tx, cancel, pool)
				})))
				pool = admin(t, dsn)
				id := unique("fail")
				_, err := c.Create(ctx, catalog.New{ID: id, Kind: kind})
				mustSay(t, err, failure.words...)
				var tenantErr *scope.TenantError
				if !errors.As(err, &tenantErr) || tenantErr.Tenant.String() != id {
					t.Errorf("error %v does not name the tenant", err)
				}
				mustHaveFailed(t, c, pool, id, failure.words...)
				_, err = c.Create(t.Context(), catalog.New{ID: id})
				mustBe(t, err, catalog.ErrTaken)
				mended.Store(true)
				if err := c.Repair(t.Context()); err != nil {
					t.Fatal(err)
				}
				works(t, db, id)
				mustMatch(t, c, pool, id)
				if tenant, err := c.Get(t.Context(), parse(t, id)); err != nil || tenant.Failure != "" {
					t.Errorf("a repaired tenant has the failure %q, %v", tenant.Failure, err)
				}
			})
		}
	}
}

func TestAFailedTenantThatIsDroppedIsGone(t *testing.T) {
	t.Parallel()
	c, _, dsn := service(t, catalog.WithRoles(), catalog.WithMigrations(then(func(*gorm.DB) error { return errors.New("boom") })))
	pool := admin(t, dsn)
	for _, kind := range []catalog.Kind{catalog.OwnSchema, catalog.OwnDatabase} {
		id := unique("boom")
		for range 2 { // the id is free again
			_, err := c.Create(t.Context(), catalog.New{ID: id, Kind: kind})
			mustSay(t, err, "boom")
			mustSay(t, c.Repair(t.Context()), "boom", id)
			mustHaveFailed(t, c, pool, id, "boom")
			if err := c.Drop(t.Context(), parse(t, id), id); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := one[int](t, pool, "select count(*)::int from tenantry.databases where kind = 'database'"); n != 0 {
		t.Errorf("the master knows %d databases", n)
	}
}

// atStep is a slog.Handler that calls f at a message.
type atStep struct {
	journal
	step string
	f    func()
}

func (a *atStep) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == a.step {
		a.f()
	}
	return a.journal.Handle(ctx, r)
}

// TestAContextThatEndsAtAnyStep leaves a working tenant or a failed one of which
// nothing is left.
func TestAContextThatEndsAtAnyStep(t *testing.T) {
	t.Parallel()
	for name, like := range (crash{}).kinds() {
		for _, step := range isolation.Crashes(t, like.steps(t)) {
			t.Run(name+" "+step, func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				at := like.anew(t)
				c, pool := at.open(t, &atStep{step: step, f: cancel}), admin(t, at.DSN)
				_, err := c.Create(ctx, at.Tenant)
				tenant, getErr := c.Get(t.Context(), parse(t, at.Tenant.ID))
				if getErr != nil {
					t.Fatal(getErr)
				}
				if tenant.State == catalog.Active {
					mustMatch(t, c, pool, at.Tenant.ID)
					works(t, use(t, at.DSN, c, nil), at.Tenant.ID)
					return
				}
				mustBe(t, err, context.Canceled)
				mustHaveFailed(t, c, pool, at.Tenant.ID, "canceled")
			})
		}
	}
}

// TestAContextThatEndsWhileTheServerMakesADatabase: the server may go on for a
// while.
func TestAContextThatEndsWhileTheServerMakesADatabase(t *testing.T) {
	t.Parallel()
	c, db, dsn := service(t)
	pool, prefix := admin(t, dsn), unique("late")
	create(t, c, ownDatabase(prefix+"-template"))
	for i := range 5 {
		id := fmt.Sprintf("%s-%d", prefix, i)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { _, err := c.Create(ctx, ownDatabase(id)); done <- err }()
		eventually(t, "the server makes the database", func() bool {
			return one[bool](t, pool, "select exists (select from pg_stat_activity where query like 'create database%' and state = 'active' and position($1 in query) > 0) or exists (select from tenantry.tenants where id = $2 and state <> 'provisioning')",
				strings.ReplaceAll(id, "-", "_")+"_", id)
		})
		cancel()
		if err := <-done; err == nil {
			works(t, db, id)
			continue
		}
		mustHaveFailed(t, c, pool, id)
	}
	for tenant, err := range c.List(t.Context(), catalog.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Drop(t.Context(), tenant.ID, tenant.ID.String()); err != nil {
			t.Error(err)
		}
	}
	mustMatch(t, c, pool, prefix)
}

func TestAnUndoThatFailsIsReportedAndNoted(t *testing.T) {
	t.Parallel()
	var pool *pgxpool.Pool
	c, _, dsn := service(t, catalog.WithMigrations(then(func(tx *gorm.DB) error {
		var name string
		if err := tx.Raw("select current_database()").Scan(&name).Error; err != nil {
			return err
		}
		if _, err := pool.Exec(context.Background(), "comment on database "+name+" is 'hands off'"); err != nil {
			return err
		}
		return errors.New("boom")
	})))
	pool = admin(t, dsn)
	id := unique("stuck")
	_, err := c.Create(t.Context(), ownDatabase(id))
	mustSay(t, err, "boom", "hands off", "undone")
	mustBe(t, err, catalog.ErrForeign)
	tenant, err := c.Get(t.Context(), parse(t, id))
	if err != nil || tenant.State != catalog.Failed || !strings.Contains(tenant.Failure, "boom") || !strings.Contains(tenant.Failure, "hands off") {
		t.Errorf("got %+v, %v", tenant, err)
	}
	mustBe(t, c.Drop(t.Context(), tenant.ID, id), catalog.ErrForeign)
	mustMatch(t, c, pool, id) // all is still there
	comment(t, pool, tenant.Database, "tenantry "+identity(t, pool)+" tenant "+id)
	if err := c.Drop(t.Context(), tenant.ID, id); err != nil {
		t.Error(err)
	}
	mustMatch(t, c, pool, id)
}

func TestRepairLeavesALivingProcessAlone(t *testing.T) {
	t.Parallel()
	dsn, key := pgtest.Database(t), testKey(t, "k1")
	ring := catalog.WithKeys(catalog.FixedKeys{key})
	for _, kind := range []catalog.Kind{catalog.OwnSchema, catalog.OwnDatabase} {
		inside, goOn := make(chan struct{}), make(chan struct{})
		var once sync.Once
		at := open(t, dsn, ring, catalog.WithMigrations(then(func(*gorm.DB) error {
			once.Do(func() { close(inside) })
			<-goOn
			return nil
		})))
		other := open(t, dsn, ring)
		id, created := unique("alive"), make(chan error)
		go func() { _, err := at.Create(t.Context(), catalog.New{ID: id, Kind: kind}); created <- err }()
		<-inside
		for _, c := range []*catalog.Catalog{at, other} {
			mustBe(t, c.Repair(t.Context(), parse(t, id)), catalog.ErrBusy)
			mustBe(t, c.Drop(t.Context(), parse(t, id), id), catalog.ErrBusy)
			if err := c.Repair(t.Context()); err != nil {
				t.Error(err)
			}
			_, err := c.Create(t.Context(), catalog.New{ID: id})
			mustBe(t, err, catalog.ErrTaken)
			_, err = c.Lookup(t.Context(), subdomain(id))
			mustBe(t, err, catalog.ErrUnknown)
		}
		close(goOn)
		if err := <-created; err != nil {
			t.Fatal(err)
		}
		db := use(t, dsn, other, nil)
		eventually(t, "the other process hears of it", func() bool {
			return db.WithContext(scope.With(t.Context(), parse(t, id))).Exec("select 1").Error == nil
		})
		works(t, db, id)
		mustMatch(t, other, admin(t, dsn), "alive")
	}
}

func TestRepairTouchesOnlyWhatIsBroken(t *testing.T) {
	t.Parallel()
	c, db, dsn := service(t)
	prefix := unique("well")
	create(t, c, catalog.New{ID: prefix + "-active"})
	quiet := create(t, c, catalog.New{ID: prefix + "-suspended"})
	if err := c.Suspend(t.Context(), quiet.ID); err != nil {
		t.Fatal(err)
	}
	if err := c.Repair(t.Context()); err != nil {
		t.Error(err)
	}
	if err := c.Repair(t.Context(), parse(t, prefix+"-active"), quiet.ID); err != nil {
		t.Error(err)
	}
	mustBe(t, c.Repair(t.Context(), parse(t, prefix+"-unknown")), catalog.ErrUnknown)
	works(t, db, prefix+"-active")
	mustBe(t, db.WithContext(as(t, prefix+"-suspended")).Create(&Invoice{}).Error, catalog.ErrSuspended)
	mustMatch(t, c, admin(t, dsn), prefix)
}

// TestSeveralProcessesRepairAtOnce, as they do at start-up: one does the work, the
// others find it done.
func TestSeveralProcessesRepairAtOnce(t *testing.T) {
	t.Parallel()
	dsn, key := pgtest.Database(t), testKey(t, "k1")
	opts := []catalog.Option{catalog.WithKeys(catalog.FixedKeys{key})}
	processes := []*catalog.Catalog{open(t, dsn, opts...), open(t, dsn, opts...), open(t, dsn, opts...)}
	pool, prefix := admin(t, dsn), unique("herd")
	for i := range 8 {
		create(t, processes[0], catalog.New{ID: fmt.Sprintf("%s-%d", prefix, i)})
	}
	execute(t, pool, "update tenantry.tenants set state = 'deleting'")
	var wg sync.WaitGroup
	for _, c := range processes {
		wg.Go(func() {
			if err := c.Repair(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if left := objects(t, pool, identity(t, pool), prefix); !slices.Equal(left, []string{}) {
		t.Errorf("left: %q", left)
	}
}
