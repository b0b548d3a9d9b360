package migrator_test

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-gormigrate/gormigrate/v2"
	"github.com/jackc/pgx/v5/pgconn"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/pgserver/dsn"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
)

const titles = "select count(*)::int from information_schema.columns where column_name = 'title' and table_schema <> 'tenantry'"

var undoable = []*gormigrate.Migration{two[0], {
	ID:       "0002",
	Migrate:  two[1].Migrate,
	Rollback: func(tx *gorm.DB) error { return tx.Exec("alter table invoices drop column title").Error },
}}

// TestResultsWaitForTheLedger: a write of results that fails once must not lose them,
// nor those behind them, or the run could not be rolled back.
func TestResultsWaitForTheLedger(t *testing.T) {
	t.Parallel()
	server := pgtest.Database(t)
	db, pool := open(t, server, plugin.BySchema()), admin(t, server)
	list := many(t, 20)
	if _, err := migrator.New(db, list, two[:1], silent).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), `create sequence public.n; create function public.once() returns trigger language plpgsql as $$ begin
		if new.tenant = 't03' and nextval('public.n') = 1 then raise sqlstate 'XX000'; end if; return new; end $$;
		create trigger once before insert on tenantry.results for each row execute function public.once()`); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the first may say that the ledger failed
		_, err := migrator.New(db, list, two, silent).Run(t.Context())
		t.Log(err)
	}
	if n := ask[int](t, pool, "select count(distinct tenant)::int from tenantry.results where applied ? '0002'"); n != 20 {
		t.Errorf("runs are credited with %d of 20 tenants", n)
	}
}

// TestRollbackOfARunThatIsUnderWay waits for the end of the run, and then undoes all
// of it.
func TestRollbackOfARunThatIsUnderWay(t *testing.T) {
	t.Parallel()
	server := pgtest.Database(t)
	one, other, pool := open(t, server, plugin.BySchema()), open(t, server, plugin.BySchema()), admin(t, server)
	list := many(t, 3)
	if _, err := migrator.New(one, list, two[:1], silent).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	gate, begun := make(chan struct{}), make(chan struct{}, 3)
	gated := []*gormigrate.Migration{undoable[0], {ID: "0002", Rollback: undoable[1].Rollback, Migrate: func(tx *gorm.DB) error {
		begun <- struct{}{}
		<-gate
		return two[1].Migrate(tx)
	}}}
	ran, undone, waiting := make(chan error, 1), make(chan error, 1), make(chan struct{}, 1)
	go func() {
		_, err := migrator.New(one, list, gated, silent, migrator.WithConcurrency(1)).Run(t.Context())
		ran <- err
	}()
	<-begun
	go func() {
		m := migrator.New(other, list, gated, silent, migrator.WithProgress(func(e migrator.Event) {
			if e.Kind == migrator.EventWaiting {
				waiting <- struct{}{}
			}
		}))
		_, err := m.RollbackRun(t.Context(), 2)
		undone <- err
	}()
	<-waiting
	close(gate)
	if err := errors.Join(<-ran, <-undone); err != nil {
		t.Fatal(err)
	}
	if left := ask[int](t, pool, titles); left > 0 {
		t.Errorf("%d tenants still have what the run applied", left)
	}
}

// TestAStepOutsideThatLosesItsLockIsNotRecorded: a statement whose context ends
// closes the connection that holds the locks.
func TestAStepOutsideThatLosesItsLockIsNotRecorded(t *testing.T) {
	t.Parallel()
	server := pgtest.Database(t)
	db, pool := open(t, server, plugin.BySchema()), admin(t, server)
	migrations := append(slices.Clone(two), migrator.NoTransaction(&gormigrate.Migration{ID: "0003", Migrate: func(tx *gorm.DB) error {
		ctx, cancel := context.WithTimeout(tx.Statement.Context, 100*time.Millisecond)
		defer cancel()
		if err := tx.WithContext(ctx).Exec("select pg_sleep(60)").Error; err == nil {
			return errors.New("it slept")
		}
		return nil
	}}))
	if _, err := migrator.New(db, many(t, 1), migrations, silent).Run(t.Context()); err == nil {
		t.Error("it counts as done")
	}
	if n := ask[int](t, pool, "select count(*)::int from tenant_t00.migrations where id = '0003'"); n != 0 {
		t.Error("it is recorded")
	}
}

// TestAnIndexThatAnotherRoleBuildsStays: PostgreSQL shows a role the progress of its own
// builds only.
func TestAnIndexThatAnotherRoleBuildsStays(t *testing.T) {
	t.Parallel()
	direct := pgtest.Database(t)
	pool := admin(t, direct)
	role := "owner_" + strings.ToLower(rand.Text()[:8])
	cfg, err := dsn.Parse(direct)
	if err != nil {
		t.Fatal(err)
	}
	mustExec(t, pool, "create role "+role+" login password 'x'", "grant create on database "+cfg.Database+" to "+role)
	t.Cleanup(func() { mustExec(t, pool, "drop owned by "+role, "drop role "+role) })
	db := open(t, dsn.URL(net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port))), role, "x", cfg.Database), plugin.BySchema())
	list := many(t, 1)
	if _, err := migrator.New(db, list, two, silent).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	lock, err := pool.Begin(t.Context()) // the build waits for it
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock.Exec(t.Context(), "insert into tenant_t00.invoices (title) values ('x')"); err != nil {
		t.Fatal(err)
	}
	built := make(chan error, 1)
	go func() {
		_, err := pool.Exec(context.WithoutCancel(t.Context()), "create index concurrently by_hand on tenant_t00.invoices (title)")
		built <- err
	}()
	await(t, "the build has begun", func() bool {
		return ask[int](t, pool, "select count(*)::int from pg_class where relname = 'by_hand'") > 0
	})
	migrations := append(slices.Clone(two), migrator.NoTransaction(text("0003", "select 1")))
	if _, err := migrator.New(db, list, migrations, silent, migrator.WithLockTimeout(100*time.Millisecond)).Run(t.Context()); err != nil {
		t.Error(err)
	}
	if err := errors.Join(lock.Rollback(t.Context()), <-built); err != nil {
		t.Error(err)
	}
	if !ask[bool](t, pool, "select coalesce(bool_and(indisvalid), false) from pg_index where indexrelid = to_regclass('tenant_t00.by_hand')") {
		t.Error("the index is gone")
	}
}

// TestDirectNeverShowsItsString: pgx's own error quotes the connection string, and
// its redaction misses some forms of passwords.
func TestDirectNeverShowsItsString(t *testing.T) {
	t.Parallel()
	_, err := migrator.New(nil, many(t, 1), two, migrator.WithDirect("host=127.0.0.1 port=abc password = s3cr3t")).Run(t.Context())
	var parse *pgconn.ParseConfigError
	if err == nil || errors.As(err, &parse) {
		t.Errorf("got error %v, which holds pgx's", err)
	}
}
