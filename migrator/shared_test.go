package migrator_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-gormigrate/gormigrate/v2"
	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
)

// until waits for a condition, for half a minute at most.
func until(t testing.TB, what string, f func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for !f() {
		select {
		case <-deadline.C:
			t.Fatalf("it did not happen in time: %s", what)
		case <-again.C:
		}
	}
}

// mustExec runs statements past the migrator.
func mustExec(t testing.TB, pool *pgxpool.Pool, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := pool.Exec(context.Background(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// index is a migration that can't run in a transaction.
func index(id, sql string) *gormigrate.Migration { return migrator.NoTransaction(text(id, sql)) }

// TestTheSharedTablesComeFirstAndAlone: two processes with a new version, while one
// with the old version is at work. No tenant's migration overlaps with a shared one,
// and none of the new version comes before it.
func TestTheSharedTablesComeFirstAndAlone(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	list := many(t, 12)
	var atWork, sharedRuns atomic.Int64
	var overlap, early atomic.Bool
	old := []*gormigrate.Migration{{ID: "0001", Migrate: func(tx *gorm.DB) error {
		atWork.Add(1)
		defer atWork.Add(-1)
		return tx.Exec("create table invoices (id bigserial primary key)").Error
	}}}
	shared := migrator.Migrations{{ID: "s1", Migrate: func(tx *gorm.DB) error {
		sharedRuns.Add(1)
		if err := tx.Exec("select pg_sleep(0.1)").Error; err != nil {
			return err
		}
		if atWork.Load() > 0 {
			overlap.Store(true)
		}
		return tx.Exec("create table plans (id bigint primary key)").Error
	}}, text("s2", "insert into plans values (1)")}
	newer := append(slices.Clone(old), &gormigrate.Migration{ID: "0002", Migrate: func(tx *gorm.DB) error {
		if sharedRuns.Load() != 1 {
			early.Store(true)
		}
		return tx.Exec("alter table invoices add plan bigint references public.plans").Error
	}})
	var wg sync.WaitGroup
	begun := make(chan struct{})
	once := sync.OnceFunc(func() { close(begun) })
	wg.Go(func() {
		_, err := migrator.New(open(t, dsn, plugin.BySchema()), list, old, migrator.WithUnknownMigrations(), migrator.WithConcurrency(2),
			migrator.WithProgress(func(e migrator.Event) {
				if e.Kind == migrator.EventStarted {
					once()
				}
			})).Run(t.Context())
		if err != nil {
			t.Error(err)
		}
	})
	<-begun
	var applied atomic.Int64
	for range 2 {
		db := open(t, dsn, plugin.BySchema())
		wg.Go(func() {
			report, err := migrator.New(db, list, newer, migrator.WithShared(shared)).Run(t.Context())
			if err != nil {
				t.Error(err)
			}
			applied.Add(int64(len(report.Shared)))
		})
	}
	wg.Wait()
	if overlap.Load() || early.Load() || sharedRuns.Load() != 1 || applied.Load() != 2 {
		t.Errorf("overlap %v, a tenant before the shared tables %v, %d runs of s1, %d reported", overlap.Load(), early.Load(), sharedRuns.Load(), applied.Load())
	}
	if got := ask[string](t, admin(t, dsn), tablesOf, "public"); got != "migrations plans" {
		t.Errorf("public has the tables %q", got)
	}
}

func TestAFailingSharedMigrationKeepsTheTenantsAsTheyAre(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	list := tenants(t, "acme")
	shared := migrator.Migrations{text("s1", "create table plans (id bigint)"), text("s2", "select 1/0")}
	m := migrator.New(open(t, dsn, plugin.BySchema()), list, two, migrator.WithShared(shared))
	report, err := m.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "shared tables") || !strings.Contains(err.Error(), `"s2"`) || len(report.Results) > 0 {
		t.Errorf("got %+v, %v", report, err)
	}
	pool := admin(t, dsn)
	if got := ask[string](t, pool, tablesOf, "public") + ask[string](t, pool, tablesOf, "tenant_acme"); got != "" {
		t.Errorf("there are tables: %q", got)
	}
	var unknown *migrator.UnknownError
	mustExec(t, pool, "create table public.migrations (id varchar(255) primary key)", "insert into public.migrations values ('s9')")
	if _, err := m.Run(t.Context()); !errors.As(err, &unknown) || !slices.Equal(unknown.IDs, []string{"s9"}) {
		t.Errorf("got error %v", err)
	}
	if _, err := m.Plan(t.Context()); !errors.As(err, &unknown) {
		t.Errorf("got error %v", err)
	}
}

// TestASharedIndexAndTenantsIndexesDoNotWaitForEachOther: the process of a new
// version holds what its shared migration needs while the old version is at work on a
// tenant that needs the same.
func TestASharedIndexAndTenantsIndexesDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	pool := admin(t, dsn)
	mustExec(t, pool, "create table public.plans (id bigint)")
	ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
	defer cancel()
	holder, err := pool.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Release()
	const lock = "(hashtextextended('tenantry/outside', 0))"
	if _, err := holder.Exec(ctx, "select pg_advisory_lock"+lock); err != nil {
		t.Fatal(err)
	}
	waiting := func(query string) int {
		return ask[int](t, pool, "select count(*)::int from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and query like $1", query)
	}
	var wg sync.WaitGroup
	shared := migrator.Migrations{index("s1", "create index concurrently if not exists plans_id on plans (id)")}
	newer := open(t, dsn, plugin.BySchema())
	wg.Go(func() {
		if _, err := migrator.New(newer, tenants(t, "acme"), two, migrator.WithShared(shared), migrator.WithUnknownMigrations()).Run(ctx); err != nil {
			t.Errorf("the new version: %v", err)
		}
	})
	until(t, "the shared migration waits for its turn", func() bool { return waiting("%pg_try_advisory_lock(%tenantry/%") > 0 })

	gate := make(chan struct{})
	var begun atomic.Bool
	old := []*gormigrate.Migration{{ID: "0001", Migrate: func(tx *gorm.DB) error {
		begun.Store(true)
		<-gate
		return tx.Exec("create table invoices (id bigserial primary key)").Error
	}}, index("0001-index", "create index concurrently if not exists i on invoices (id)")}
	older := open(t, dsn, plugin.BySchema())
	wg.Go(func() {
		if _, err := migrator.New(older, tenants(t, "globex"), old).Run(ctx); err != nil {
			t.Errorf("the old version: %v", err)
		}
	})
	until(t, "the old version is at work, or kept from it until the shared tables are through", func() bool {
		return begun.Load() || waiting("%filter (where server = %") > 0
	})
	if _, err := holder.Exec(ctx, "select pg_advisory_unlock"+lock); err != nil {
		t.Fatal(err)
	}
	until(t, "the new version has the locks that it can have", func() bool {
		return ask[int](t, pool, "select count(*)::int from pg_locks l join pg_database d on d.oid = l.database where locktype = 'advisory' and granted and datname = current_database() and pid <> $1", holder.Conn().PgConn().PID()) > 1
	})
	close(gate)
	wg.Wait()
}
