package migrator_test

import (
	"context"
	"errors"
	"fmt"
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
	"github.com/tenantry/tenantry/scope"
)

const (
	titleIndex = "create unique index concurrently if not exists invoices_title on invoices (title)"

	// indexesOf lists a schema's indexes, and marks the invalid ones.
	indexesOf = `select coalesce(string_agg(relname || case when indisvalid then '' else '!' end, ' ' order by relname), '')
		from pg_index join pg_class c on c.oid = indexrelid join pg_namespace n on n.oid = relnamespace where nspname = $1 and not indisprimary`
)

// withIndex is two, and an index on what they make, and one more.
func withIndex() []*gormigrate.Migration {
	return append(slices.Clone(two), index("0003", titleIndex), text("0004", "alter table invoices add column cents bigint"))
}

// TestOutsideOfATransactionTwoProcessesDoNotBlockEachOther: CREATE INDEX
// CONCURRENTLY waits for every snapshot of its database.
func TestOutsideOfATransactionTwoProcessesDoNotBlockEachOther(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	list := many(t, 16)
	var now, most, overlap atomic.Int64
	counted := &gormigrate.Migration{ID: "0003", Migrate: func(tx *gorm.DB) error {
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		defer now.Add(-1)
		overlap.Add(1)
		return tx.Exec(titleIndex).Error
	}}
	migrations := append(slices.Clone(two), migrator.NoTransaction(counted), text("0004", "alter table invoices add column cents bigint"))
	var applied, tries atomic.Int64
	var wg sync.WaitGroup
	retries := migrator.WithProgress(func(e migrator.Event) {
		if e.Kind == migrator.EventRetrying {
			t.Logf("%s is tried again: %v", e.Tenant, e.Err)
		}
	})
	for range 2 {
		db := open(t, dsn, plugin.BySchema())
		wg.Go(func() {
			report, err := migrator.New(db, list, migrations, retries).Run(t.Context())
			if err != nil {
				t.Error(err)
			}
			for _, r := range report.Results {
				applied.Add(int64(len(r.Applied)))
				tries.Add(int64(r.Attempts))
			}
		})
	}
	wg.Wait()
	if most.Load() != 1 || overlap.Load() != int64(len(list)) || tries.Load() != int64(len(list)) || applied.Load() != int64(4*len(list)) {
		t.Errorf("%d at a time, %d indexes, %d tries, %d applied", most.Load(), overlap.Load(), tries.Load(), applied.Load())
	}
	pool := admin(t, dsn)
	for _, tenant := range list {
		if got := ask[string](t, pool, indexesOf, "tenant_"+tenant.String()); got != "invoices_title" {
			t.Errorf("%s has the indexes %q", tenant, got)
		}
	}
	noLocks(t, pool)
}

// noLocks checks that nothing is held for longer than a run.
func noLocks(t testing.TB, pool *pgxpool.Pool) {
	t.Helper()
	until(t, "all advisory locks are free", func() bool {
		return ask[int](t, pool, "select count(*)::int from pg_locks l join pg_database d on d.oid = l.database where locktype = 'advisory' and datname = current_database()") == 0
	})
}

// TestAnIndexThatFailsIsNotLeftBehind, and what came before it is kept.
func TestAnIndexThatFailsIsNotLeftBehind(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	db, pool, list := open(t, dsn, plugin.BySchema()), admin(t, dsn), tenants(t, "acme")
	migrations := slices.Insert(withIndex(), 2, text("0002-rows", "insert into invoices (title) values ('a'), ('a')"))
	m := migrator.New(db, list, migrations)
	report, err := m.Run(t.Context())
	if code(err) != "23505" || report.Results[0].Attempts != 1 || !slices.Equal(report.Results[0].Applied, []string{"0001", "0002", "0002-rows"}) {
		t.Errorf("got %+v, %v", report.Results, err)
	}
	if got := ask[string](t, pool, indexesOf, "tenant_acme"); got != "" {
		t.Errorf("there are the indexes %q", got)
	}
	if f := failure(t, m); f.Migration != "0003" || f.Code != "23505" || !strings.Contains(f.Detail, "(a)") {
		t.Errorf("the ledger says %+v", f)
	}
	mustExec(t, pool, "delete from tenant_acme.invoices where id = 2")
	report, err = m.Run(t.Context(), migrator.Only(migrator.Selection{States: []migrator.State{migrator.Failed}}))
	if err != nil || !slices.Equal(report.Results[0].Applied, []string{"0003", "0004"}) {
		t.Errorf("got %+v, %v", report.Results, err)
	}
	if got := ask[string](t, pool, indexesOf, "tenant_acme"); got != "invoices_title" {
		t.Errorf("there are the indexes %q", got)
	}
	noLocks(t, pool)
}

// blocked prepares a tenant whose index waits for a transaction that has written the
// table.
func blocked(t *testing.T, opts ...migrator.Option) (m *migrator.Migrator, pool *pgxpool.Pool, release func()) {
	t.Helper()
	dsn := pgtest.Database(t)
	db, pool, list := open(t, dsn, plugin.BySchema()), admin(t, dsn), tenants(t, "acme")
	if _, err := migrator.New(db, list, two).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	holder, err := pool.Begin(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := holder.Exec(t.Context(), "insert into tenant_acme.invoices (title) values ('b')"); err != nil {
		t.Fatal(err)
	}
	release = sync.OnceFunc(func() { _ = holder.Commit(context.Background()) })
	t.Cleanup(release)
	return migrator.New(db, list, withIndex(), opts...), pool, release
}

// waits waits until the index waits for the other transaction.
func waits(t testing.TB, pool *pgxpool.Pool) {
	t.Helper()
	until(t, "the index is being made", func() bool {
		return ask[int](t, pool, "select count(*)::int from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%concurrently%'") > 0
	})
}

func TestAnIndexThatWaitsForTooLongIsTriedAgain(t *testing.T) {
	t.Parallel()
	var retries atomic.Int64
	var release func()
	m, pool, release := blocked(t, migrator.WithLockTimeout(200*time.Millisecond), migrator.WithProgress(func(e migrator.Event) {
		if e.Kind == migrator.EventRetrying {
			retries.Add(1)
			release()
		}
	}))
	report, err := m.Run(t.Context())
	if err != nil || report.Results[0].Attempts < 2 || retries.Load() == 0 || !slices.Equal(report.Results[0].Applied, []string{"0003", "0004"}) {
		t.Errorf("%+v, %d retries, %v", report.Results, retries.Load(), err)
	}
	if got := ask[string](t, pool, indexesOf, "tenant_acme"); got != "invoices_title" {
		t.Errorf("there are the indexes %q", got)
	}
	noLocks(t, pool)
}

// TestAnIndexThatIsInterruptedIsNotLeftBehind: the context ends while it waits.
func TestAnIndexThatIsInterruptedIsNotLeftBehind(t *testing.T) {
	t.Parallel()
	for name, early := range map[string]bool{"the other transaction ends soon": true, "the other transaction stays": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, pool, release := blocked(t)
			ctx, cancel := context.WithCancelCause(t.Context())
			stop := errors.New("the deploy was stopped")
			var wg sync.WaitGroup
			var report migrator.Report
			var err error
			start := time.Now()
			wg.Go(func() { report, err = m.Run(ctx) })
			waits(t, pool)
			cancel(stop)
			if early {
				release()
			}
			wg.Wait()
			if took := time.Since(start); took > 35*time.Second {
				t.Errorf("it took %s to stop", took)
			}
			if !errors.Is(err, stop) && !errors.Is(err, context.Canceled) || report.Results[0].State != migrator.Pending {
				t.Errorf("got %+v, %v", report.Results, err)
			}
			if got := ask[string](t, pool, indexesOf, "tenant_acme"); early && got != "" && got != "invoices_title" { // it may just have become ready
				t.Errorf("there are the indexes %q", got)
			}
			release()
			report, err = m.Run(t.Context())
			if err != nil || !slices.Equal(report.Results[0].Applied, []string{"0003", "0004"}) {
				t.Errorf("afterwards: %+v, %v", report.Results, err)
			}
			if got := ask[string](t, pool, indexesOf, "tenant_acme"); got != "invoices_title" {
				t.Errorf("there are the indexes %q", got)
			}
			noLocks(t, pool)
		})
	}
}

// TestAnInvalidIndexOfADeadProcessIsMadeAnew: IF NOT EXISTS would take it for the
// index.
func TestAnInvalidIndexOfADeadProcessIsMadeAnew(t *testing.T) {
	t.Parallel()
	m, pool, release := blocked(t)
	release()
	mustExec(t, pool, "insert into tenant_acme.invoices (title) values ('b')")
	if _, err := pool.Exec(t.Context(), "create unique index concurrently invoices_title on tenant_acme.invoices (title)"); code(err) != "23505" {
		t.Fatal(err)
	}
	mustExec(t, pool, "delete from tenant_acme.invoices")
	if got := ask[string](t, pool, indexesOf, "tenant_acme"); got != "invoices_title!" {
		t.Fatalf("there are the indexes %q", got)
	}
	if _, err := m.Run(t.Context()); err != nil {
		t.Error(err)
	}
	if got := ask[string](t, pool, indexesOf, "tenant_acme"); got != "invoices_title" {
		t.Errorf("there are the indexes %q", got)
	}
}

// TestNoTransactionWithPlainGormigrate: the mark is a migration of gormigrate's, and
// says what is the matter in a transaction.
func TestNoTransactionWithPlainGormigrate(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	list := tenants(t, "acme")
	db := asTenant(t, dsn, list[0])
	pool := admin(t, dsn)
	mustExec(t, pool, "create schema tenant_acme")
	migrations := append(slices.Clone(two), index("0003", titleIndex))
	err := gormigrate.New(db, &gormigrate.Options{TableName: "migrations", IDColumnName: "id", IDColumnSize: 255, UseTransaction: true}, migrations).Migrate()
	if err == nil || !strings.Contains(err.Error(), "can't run in a transaction") || !strings.Contains(fmt.Sprint(err), "migrator:") {
		t.Errorf("got error %v", err)
	}
	if err := gormigrate.New(db, gormigrate.DefaultOptions, migrations).Migrate(); err != nil {
		t.Error(err)
	}
	if got := ask[string](t, pool, indexesOf, "tenant_acme"); got != "invoices_title" {
		t.Errorf("there are the indexes %q", got)
	}
	if migrator.NoTransaction(nil) != nil {
		t.Error("the mark of nil is not nil")
	}
	if m := migrator.NoTransaction(&gormigrate.Migration{ID: "x"}); m.Migrate != nil || m.Rollback != nil {
		t.Error("the mark makes functions of none")
	}
}

// TestApplyMakesNoIndexConcurrently at a new place.
func TestApplyMakesNoIndexConcurrently(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	list := tenants(t, "acme")
	mustExec(t, admin(t, dsn), "create schema tenant_acme")
	migrations := migrator.Migrations(append(withIndex(),
		index("0005", "\n\tCREATE INDEX\n CONCURRENTLY cents ON invoices (cents)"),
		index("0006", "drop index concurrently cents"),
		index("0007", "reindex table concurrently invoices"),
		index("0008", "/* for the list */ create index concurrently by_cents on invoices (cents)"),
		index("0009", "-- for the list\ncreate index concurrently by_title on invoices (title)"),
		migrator.NoTransaction(&gormigrate.Migration{ID: "0010", Migrate: func(tx *gorm.DB) error {
			return tx.Transaction(func(tx *gorm.DB) error {
				return tx.Exec("insert into invoices (title) values ('create index concurrently')").Error
			})
		}})))
	if err := migrations.Apply(scope.With(t.Context(), list[0]), migrator.NewPlace{DB: open(t, dsn, plugin.BySchema())}); err != nil {
		t.Fatal(err)
	}
	if got := ask[string](t, admin(t, dsn), indexesOf, "tenant_acme"); got != "by_cents by_title invoices_title" {
		t.Errorf("there are the indexes %q", got)
	}
	if got := ask[string](t, admin(t, dsn), "select title from tenant_acme.invoices"); got != "create index concurrently" {
		t.Errorf("the title is %q", got)
	}
	report, err := migrator.New(open(t, dsn, plugin.BySchema()), list, migrations).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	checkApplied(t, report, list)
}

// TestAnIndexWhoseConnectionBreaksIsNotLeftBehind.
func TestAnIndexWhoseConnectionBreaksIsNotLeftBehind(t *testing.T) {
	t.Parallel()
	m, pool, release := blocked(t)
	var wg sync.WaitGroup
	var report migrator.Report
	var err error
	wg.Go(func() { report, err = m.Run(t.Context()) })
	waits(t, pool)
	mustExec(t, pool, "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%concurrently%'")
	release()
	wg.Wait()
	if err == nil || report.Results[0].State != migrator.Failed {
		t.Errorf("got %+v, %v", report, err)
	}
	if got := ask[string](t, pool, indexesOf, "tenant_acme"); got != "" {
		t.Errorf("there are the indexes %q", got)
	}
	if _, err := m.Run(t.Context()); err != nil {
		t.Error(err)
	}
	noLocks(t, pool)
}
