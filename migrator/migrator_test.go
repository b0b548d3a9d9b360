package migrator_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-gormigrate/gormigrate/v2"
	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

func tenants(t testing.TB, ids ...string) migrator.List {
	t.Helper()
	list := make(migrator.List, len(ids))
	for i, id := range ids {
		tenant, err := scope.Parse(id)
		if err != nil {
			t.Fatal(err)
		}
		list[i] = tenant
	}
	return list
}

func many(t testing.TB, n int) migrator.List {
	t.Helper()
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("t%02d", i)
	}
	return tenants(t, ids...)
}

func open(t testing.TB, dsn string, strategy plugin.Strategy) *gorm.DB {
	t.Helper()
	db, err := gorm.Open(postgres.Open(dsn), &gorm.Config{Logger: logger.Discard})
	if err != nil {
		t.Fatal(err)
	}
	p := plugin.New(strategy, plugin.WithMaxConns(6))
	if err := db.Use(p); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func admin(t testing.TB, dsn string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func ask[T any](t testing.TB, pool *pgxpool.Pool, sql string, args ...any) (v T) {
	t.Helper()
	if err := pool.QueryRow(context.Background(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

func text(id, sql string) *gormigrate.Migration {
	return &gormigrate.Migration{ID: id, Migrate: func(tx *gorm.DB) error { return tx.Exec(sql).Error }}
}

var two = []*gormigrate.Migration{
	text("0001", "create table invoices (id bigserial primary key)"),
	text("0002", "alter table invoices add column title text"),
}

const tablesOf = "select coalesce(string_agg(tablename, ' ' order by tablename), '') from pg_tables where schemaname = $1"

func TestRunBringsEveryTenantUpToDate(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	db, pool := open(t, dsn, plugin.BySchema()), admin(t, dsn)
	list := tenants(t, "acme", "globex", "with-dash")

	report, err := migrator.New(db, list, two[:1]).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	checkApplied(t, report, list, "0001")
	report, err = migrator.New(db, list, two).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	checkApplied(t, report, list, "0002")
	report, err = migrator.New(db, list, two).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	checkApplied(t, report, list)
	for _, tenant := range list {
		if got := ask[string](t, pool, tablesOf, "tenant_"+tenant.String()); got != "invoices migrations" {
			t.Errorf("%s has the tables %q", tenant, got)
		}
	}
	if got := ask[string](t, pool, tablesOf, "public"); got != "" {
		t.Errorf("public has the tables %q", got)
	}
}

func checkApplied(t *testing.T, report migrator.Report, list migrator.List, ids ...string) {
	t.Helper()
	if len(report.Results) != len(list) {
		t.Fatalf("%d results for %d tenants", len(report.Results), len(list))
	}
	for i, r := range report.Results {
		if r.Tenant != list[i] || r.Err != nil || r.State != migrator.Current || !slices.Equal(r.Applied, ids) || (r.Duration > 0) != (len(ids) > 0) {
			t.Errorf("result %d is %+v, want %s with %q", i, r, list[i], ids)
		}
	}
}

// TestTheTrackingTableIsTheTenantsOwn: a shared schema with a full tracking
// table must not make a new tenant look migrated.
func TestTheTrackingTableIsTheTenantsOwn(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	pool := admin(t, dsn)
	for _, schema := range []string{"commons", "public"} {
		for _, sql := range []string{
			"create schema if not exists " + schema,
			"create table " + schema + ".migrations (id varchar(255) primary key)",
			"insert into " + schema + ".migrations values ('0001'), ('0002')",
			"create table " + schema + ".invoices (id bigint)",
		} {
			if _, err := pool.Exec(t.Context(), sql); err != nil {
				t.Fatal(err)
			}
		}
	}
	list := tenants(t, "acme")
	report, err := migrator.New(open(t, dsn, plugin.BySchema(plugin.WithSharedSchemas("commons", "public"))), list, two).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	checkApplied(t, report, list, "0001", "0002")
	if got := ask[string](t, pool, tablesOf, "tenant_acme"); got != "invoices migrations" {
		t.Errorf("acme has the tables %q", got)
	}
	if got := ask[int](t, pool, "select count(*)::int from information_schema.columns where table_schema in ('commons', 'public') and column_name = 'title'"); got != 0 {
		t.Error("the migration has changed a shared table")
	}
}

func TestAFailureStopsOnlyItsTenant(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	db, pool := open(t, dsn, plugin.BySchema()), admin(t, dsn)
	list := tenants(t, "good", "bad", "panics", "leaves", "fine")
	boom := errors.New("boom")
	migrations := append(slices.Clone(two), &gormigrate.Migration{ID: "0003", Migrate: func(tx *gorm.DB) error {
		if err := tx.Exec("create table halfway (id int)").Error; err != nil {
			return err
		}
		switch tenant, err := scope.From(tx.Statement.Context); tenant.String() {
		case "bad":
			return boom
		case "panics":
			panic("out of memory")
		case "leaves":
			runtime.Goexit()
			return nil
		default:
			return err
		}
	}})
	report, err := migrator.New(db, list, migrations, migrator.WithConcurrency(1)).Run(t.Context())
	if !errors.Is(err, boom) {
		t.Errorf("the error does not hold the cause: %v", err)
	}
	for _, words := range []string{`"bad"`, `"0003"`, `"panics"`, "out of memory", `"leaves"`, "ended its goroutine"} {
		if !strings.Contains(fmt.Sprint(err), words) {
			t.Errorf("the error does not name %s: %v", words, err)
		}
	}
	for _, r := range report.Results {
		failed := r.Tenant.String() != "good" && r.Tenant.String() != "fine"
		var tenantErr *scope.TenantError
		if failed != (r.Err != nil) || failed && (!errors.As(r.Err, &tenantErr) || tenantErr.Tenant != r.Tenant || len(r.Applied) > 0) {
			t.Errorf("%s: %+v", r.Tenant, r)
		}
		want := "halfway invoices migrations"
		if failed {
			want = "" // nothing half done: not even the schema
		}
		if got := ask[string](t, pool, tablesOf, "tenant_"+r.Tenant.String()); got != want {
			t.Errorf("%s has the tables %q, want %q", r.Tenant, got, want)
		}
	}
	if n := ask[int](t, pool, "select count(*)::int from pg_namespace where nspname in ('tenant_bad', 'tenant_panics', 'tenant_leaves')"); n != 0 {
		t.Errorf("%d schemas are left of failed tenants", n)
	}
}

// TestSeveralProcessesAtOnce starts several migrators, each with a pool of its
// own as a process would have. Each migration must run once for each tenant.
func TestSeveralProcessesAtOnce(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	pool := admin(t, dsn)
	list := many(t, 20)
	if _, err := pool.Exec(t.Context(), "create table public.runs (tenant text, id text)"); err != nil {
		t.Fatal(err)
	}
	migrations := append(slices.Clone(two), text("0003", "insert into public.runs select current_schema(), '0003'"))
	var applied atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		db := open(t, dsn, plugin.BySchema())
		wg.Go(func() {
			report, err := migrator.New(db, list, migrations).Run(t.Context())
			if err != nil {
				t.Error(err)
			}
			for _, r := range report.Results {
				applied.Add(int64(len(r.Applied)))
			}
		})
	}
	wg.Wait()
	if want := int64(3 * len(list)); applied.Load() != want {
		t.Errorf("%d migrations were applied by all, want %d", applied.Load(), want)
	}
	if got := ask[string](t, pool, "select count(*) || ' ' || count(distinct tenant) from public.runs"); got != "20 20" {
		t.Errorf("runs and tenants: %s, want each tenant once", got)
	}
}

func TestAnEndedContextStopsAndReleases(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	db, pool := open(t, dsn, plugin.BySchema()), admin(t, dsn)
	list := many(t, 12)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	stop := errors.New("the deploy was stopped")
	migrations := append(slices.Clone(two), text("0003", "select pg_sleep(600)"))
	go func() {
		// Only when all of them sleep: PostgreSQL ignores a request to cancel
		// that comes before the statement.
		for asleep(pool) < 3 {
		}
		cancel(stop)
	}()
	start := time.Now()
	report, err := migrator.New(db, list, migrations, migrator.WithConcurrency(3)).Run(ctx)
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("it took %s to stop", took)
	}
	if !errors.Is(err, stop) && !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v", err)
	}
	if len(report.Results) != len(list) {
		t.Errorf("%d results, want one for each of %d tenants", len(report.Results), len(list))
	}
	for _, r := range report.Results {
		if r.State != migrator.Pending || len(r.Applied) > 0 {
			t.Errorf("%s is %s", r.Tenant, r.State)
		}
	}
	// Nothing is held any more: another migrator goes through at once.
	deadline, done := context.WithTimeout(t.Context(), 30*time.Second)
	defer done()
	if _, err := migrator.New(db, list, two).Run(deadline); err != nil {
		t.Error(err)
	}
	if n := ask[int](t, pool, "select count(*)::int from pg_locks l join pg_database d on d.oid = l.database where locktype = 'advisory' and datname = current_database()"); n != 0 {
		t.Errorf("%d advisory locks are left", n)
	}
}

// asleep returns how many statements sleep in the database.
func asleep(pool *pgxpool.Pool) (n int) {
	err := pool.QueryRow(context.Background(), "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'").Scan(&n)
	if err != nil {
		return math.MaxInt // the test itself will find out why
	}
	return n
}

func TestAMigrationMayUseTransactionsOfItsOwn(t *testing.T) {
	t.Parallel()
	db := open(t, pgtest.Database(t), plugin.BySchema())
	list := tenants(t, "acme")
	if _, err := migrator.New(db, list, two).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	migrations := append(slices.Clone(two), &gormigrate.Migration{ID: "0003", Migrate: func(tx *gorm.DB) error {
		if err := tx.Transaction(func(tx *gorm.DB) error { return tx.Exec("select 1").Error }); err != nil {
			return err
		}
		// another connection, with the migration's context: must not wait for the migration's lock
		return db.WithContext(tx.Statement.Context).Transaction(func(tx *gorm.DB) error { return tx.Exec("select 1").Error })
	}})
	if _, err := migrator.New(db, list, migrations).Run(ctx); err != nil {
		t.Error(err)
	}
}

type failingList struct{ migrator.List }

func (l failingList) Tenants(ctx context.Context) iter.Seq2[migrator.Tenant, error] {
	return func(yield func(migrator.Tenant, error) bool) {
		for t, err := range l.List.Tenants(ctx) {
			if !yield(t, err) {
				return
			}
		}
		yield(migrator.Tenant{}, errors.New("the master database is down"))
	}
}

func TestAFailingListIsReported(t *testing.T) {
	t.Parallel()
	db := open(t, pgtest.Database(t), plugin.BySchema())
	report, err := migrator.New(db, failingList{tenants(t, "acme")}, two).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "master database is down") {
		t.Errorf("got error %v", err)
	}
	if len(report.Results) != 0 {
		t.Errorf("a part of the fleet was migrated: %+v", report.Results)
	}
}

func TestATransactionIsRefused(t *testing.T) {
	t.Parallel()
	db := open(t, pgtest.Database(t), plugin.BySchema())
	err := db.WithContext(scope.Shared(t.Context())).Transaction(func(tx *gorm.DB) error {
		_, err := migrator.New(tx, tenants(t, "acme"), two).Run(t.Context())
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "is a transaction") {
		t.Errorf("got error %v", err)
	}
}

func TestTheZeroTenantIsAnError(t *testing.T) {
	t.Parallel()
	db := open(t, pgtest.Database(t), plugin.BySchema())
	if _, err := migrator.New(db, migrator.List{{}}, two).Run(t.Context()); !errors.Is(err, scope.ErrNone) {
		t.Errorf("got error %v, want scope.ErrNone", err)
	}
}

func TestBadArgumentsAreReportedBeforeAnythingRuns(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	db := open(t, dsn, plugin.BySchema())
	bare, err := gorm.Open(postgres.Open(dsn), &gorm.Config{Logger: logger.Discard})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if pool, err := bare.DB(); err != nil || pool.Close() != nil {
			t.Error("can't close the pool")
		}
	})
	list := tenants(t, "acme")
	fine := func(tx *gorm.DB) error { return tx.Exec("create table t (id int)").Error }
	tests := map[string]struct {
		migrator *migrator.Migrator
		words    []string
	}{
		"no database":          {migrator.New(nil, list, two), []string{"nil"}},
		"no plugin":            {migrator.New(bare, list, two), []string{"plugin", "db.Use"}},
		"a dry run":            {migrator.New(db.Session(&gorm.Session{DryRun: true}), list, two), []string{"DryRun"}},
		"no tenants":           {migrator.New(db, nil, two), []string{"tenants"}},
		"no migrations":        {migrator.New(db, list, nil), []string{"no migrations"}},
		"a nil migration":      {migrator.New(db, list, []*gormigrate.Migration{two[0], nil}), []string{"migration 1 is nil"}},
		"an empty id":          {migrator.New(db, list, []*gormigrate.Migration{two[0], {Migrate: fine}}), []string{"migration 1", "Missing ID"}},
		"a duplicate id":       {migrator.New(db, list, []*gormigrate.Migration{two[0], two[1], {ID: "0001", Migrate: fine}}), []string{"migrations 0 and 2", "0001"}},
		"a reserved id":        {migrator.New(db, list, []*gormigrate.Migration{{ID: "SCHEMA_INIT", Migrate: fine}}), []string{"SCHEMA_INIT"}},
		"no function":          {migrator.New(db, list, []*gormigrate.Migration{{ID: "0009"}}), []string{"0009", "Migrate"}},
		"no concurrency":       {migrator.New(db, list, two, migrator.WithConcurrency(0)), []string{"WithConcurrency"}},
		"two things at a time": {migrator.New(db, nil, nil), []string{"no migrations", "tenants"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			report, err := tt.migrator.Run(t.Context())
			for _, w := range tt.words {
				if err == nil || !strings.Contains(err.Error(), w) {
					t.Errorf("error %v does not contain %q", err, w)
				}
			}
			if len(report.Results) > 0 {
				t.Errorf("there are results: %+v", report)
			}
		})
	}
	t.Cleanup(func() {
		if n := ask[int](t, admin(t, dsn), "select count(*)::int from pg_namespace where nspname like 'tenant_%'"); n != 0 {
			t.Errorf("%d schemas were made", n)
		}
	})
}
