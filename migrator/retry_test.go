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
	"github.com/jackc/pgx/v5/pgconn"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// TestALockThatCannotBeHadIsTriedAgain: somebody holds the table until the second
// try has begun.
func TestALockThatCannotBeHadIsTriedAgain(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	db, pool, list := open(t, dsn, plugin.BySchema()), admin(t, dsn), tenants(t, "acme", "globex")
	if _, err := migrator.New(db, list, two[:1]).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	holder, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := holder.Exec(t.Context(), "lock tenant_acme.invoices in access share mode"); err != nil {
		t.Fatal(err)
	}
	var events []migrator.Event
	m := migrator.New(db, list, two, migrator.WithLockTimeout(100*time.Millisecond), migrator.WithProgress(func(e migrator.Event) {
		events = append(events, e)
		if e.Kind == migrator.EventRetrying && len(events) > 0 {
			_ = holder.Rollback(context.Background())
		}
	}))
	report, err := m.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r := report.Results[0]; r.Attempts < 2 || r.Duration < 100*time.Millisecond || !slices.Equal(r.Applied, []string{"0002"}) {
		t.Errorf("got %+v, want two tries", r)
	}
	if r := report.Results[1]; r.Attempts != 1 {
		t.Errorf("got %+v, want one try", r)
	}
	retried := slices.DeleteFunc(events, func(e migrator.Event) bool { return e.Kind != migrator.EventRetrying })
	if len(retried) != report.Results[0].Attempts-1 || retried[0].Tenant != list[0] || code(retried[0].Err) != "55P03" {
		t.Errorf("got events %+v", retried)
	}
}

// code returns the SQLSTATE of err.
func code(err error) string {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return ""
	}
	return pgErr.Code
}

// TestTriesEnd: a lock that is held on is given up, and the ledger has counted.
func TestTriesEnd(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	db, pool, list := open(t, dsn, plugin.BySchema()), admin(t, dsn), tenants(t, "acme")
	if _, err := migrator.New(db, list, two[:1]).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	holder, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = holder.Rollback(context.Background()) }()
	if _, err := holder.Exec(t.Context(), "lock tenant_acme.invoices in access share mode"); err != nil {
		t.Fatal(err)
	}
	m := migrator.New(db, list, two, migrator.WithLockTimeout(time.Millisecond))
	report, err := m.Run(t.Context())
	if code(err) != "55P03" || report.Results[0].Attempts != 5 {
		t.Errorf("got %+v, %v", report.Results, err)
	}
	status, err := m.Status(t.Context(), migrator.Selection{})
	if err != nil || status[0].State != migrator.Failed || status[0].Attempts != 5 || status[0].Failure.Code != "55P03" || status[0].Failure.Migration != "0002" {
		t.Errorf("got %+v, %v", status, err)
	}
}

func TestADeadlockIsTriedAgain(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	pool := admin(t, dsn)
	mustExec(t, pool, "create table public.a ()", "create table public.b ()")
	var meet sync.WaitGroup
	meet.Add(2)
	var first atomic.Int64
	migrations := []*gormigrate.Migration{{ID: "0001", Migrate: func(tx *gorm.DB) error {
		tables := []string{"a", "b"}
		if tenant, err := scope.From(tx.Statement.Context); err != nil || tenant.String() == "acme" {
			slices.Reverse(tables)
		}
		if err := tx.Exec("lock public." + tables[0]).Error; err != nil {
			return err
		}
		if first.Add(1) <= 2 { // only once
			meet.Done()
			meet.Wait()
		}
		return tx.Exec("lock public." + tables[1]).Error
	}}}
	report, err := migrator.New(open(t, dsn, plugin.BySchema()), tenants(t, "acme", "globex"), migrations).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if a, b := report.Results[0].Attempts, report.Results[1].Attempts; max(a, b) < 2 {
		t.Errorf("%d and %d tries", a, b)
	}
}

// TestOtherErrorsAreTriedOnce: what another try would not change, or what is not
// known to be safe to do twice.
func TestOtherErrorsAreTriedOnce(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"23505": "insert into invoices values (1), (1)",
		"42P01": "select * from ghosts",
		"57014": "select pg_sleep(60)", // statement_timeout
		"40001": "do $$ begin raise sqlstate '40001'; end $$",
		"":      "",
	}
	for want, statement := range tests {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int64
			limit := time.Minute
			if want == "57014" {
				limit = time.Second // more than the others need on a busy machine
			}
			migrations := append(slices.Clone(two), &gormigrate.Migration{ID: "0003", Migrate: func(tx *gorm.DB) error {
				calls.Add(1)
				if statement == "" {
					return errors.New("lock timeout 55P03") // words are no code
				}
				return tx.Exec(statement).Error
			}})
			m := migrator.New(open(t, pgtest.Database(t), plugin.BySchema()), tenants(t, "acme"), migrations, migrator.WithStatementTimeout(limit))
			report, err := m.Run(t.Context())
			if code(err) != want || err == nil || calls.Load() != 1 || report.Results[0].Attempts != 1 {
				t.Errorf("%d calls, %+v, %v", calls.Load(), report.Results, err)
			}
			if f := failure(t, m); f.Code != want || f.Migration != "0003" || !strings.Contains(f.Message, "0003") {
				t.Errorf("the ledger says %+v", f)
			}
		})
	}
}

func failure(t testing.TB, m *migrator.Migrator) *migrator.Failure {
	t.Helper()
	status, err := m.Status(t.Context(), migrator.Selection{})
	if err != nil || len(status) == 0 || status[0].Failure == nil {
		t.Fatalf("got status %+v, %v", status, err)
	}
	return status[0].Failure
}

// TestTimeoutsHoldInMigrationsAndNowhereElse, in a transaction and outside of one.
func TestTimeoutsHoldInMigrationsAndNowhereElse(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	const query = "select concat_ws(' ', current_setting('lock_timeout'), current_setting('statement_timeout'))"
	tests := map[string]struct {
		opts []migrator.Option
		want string
	}{
		"by default": {nil, "5s 0"},
		"as told":    {[]migrator.Option{migrator.WithLockTimeout(0), migrator.WithStatementTimeout(1234 * time.Millisecond)}, "0 1234ms"},
	}
	for name, tt := range tests {
		for kind, mark := range map[string]func(*gormigrate.Migration) *gormigrate.Migration{
			"in a transaction": func(m *gormigrate.Migration) *gormigrate.Migration { return m }, "outside of one": migrator.NoTransaction,
		} {
			t.Run(name+" "+kind, func(t *testing.T) {
				t.Parallel()
				db, err := gorm.Open(postgres.Open(dsn), &gorm.Config{Logger: logger.Discard})
				if err != nil {
					t.Fatal(err)
				}
				p := plugin.New(plugin.BySchema(), plugin.WithMaxConns(1))
				if err := db.Use(p); err != nil {
					t.Fatal(err)
				}
				defer func() { _ = p.Close() }()
				list := tenants(t, strings.ReplaceAll(name+"-"+kind, " ", "-"))
				var got, pid string
				ask := func(tx *gorm.DB) error {
					return errors.Join(tx.Raw(query).Scan(&got).Error, tx.Raw("select pg_backend_pid()::text").Scan(&pid).Error)
				}
				m := migrator.New(db, list, []*gormigrate.Migration{mark(&gormigrate.Migration{ID: "0001", Migrate: ask})}, append(tt.opts, migrator.WithConcurrency(1))...)
				if _, err := m.Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				if got != tt.want {
					t.Errorf("in the migration: %q, want %q", got, tt.want)
				}
				inside := pid
				tenant := db.WithContext(scope.With(t.Context(), list[0]))
				if err := ask(tenant); err != nil {
					t.Fatal(err)
				}
				if got != "0 0" {
					t.Errorf("afterwards: %q", got)
				}
				if kind == "in a transaction" && pid != inside {
					t.Errorf("the connection was not used again: process %s, then %s", inside, pid)
				}
			})
		}
	}
}

func TestBadTimeoutsAreRefused(t *testing.T) {
	t.Parallel()
	db := open(t, pgtest.Database(t), plugin.BySchema())
	for _, d := range []time.Duration{-time.Second, time.Microsecond, 1500 * time.Microsecond, 1 << 31 * time.Millisecond} {
		for name, o := range map[string]migrator.Option{"WithLockTimeout": migrator.WithLockTimeout(d), "WithStatementTimeout": migrator.WithStatementTimeout(d)} {
			if _, err := migrator.New(db, tenants(t, "acme"), two, o).Run(t.Context()); err == nil || !strings.Contains(fmt.Sprint(err), name) {
				t.Errorf("%s of %s: got error %v", name, d, err)
			}
		}
	}
}

// TestConnectionsThatTheServerHasClosedAreReplaced: the pool does not know yet. Nothing
// of the transaction has run, so it is safe to begin it on another.
func TestConnectionsThatTheServerHasClosedAreReplaced(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	db, pool, list := open(t, dsn, plugin.BySchema()), admin(t, dsn), many(t, 12)
	if _, err := migrator.New(db, list, two[:1], silent).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	ended := ask[int](t, pool, "select count(pg_terminate_backend(pid, 5000))::int from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()")
	report, err := migrator.New(db, list, two, silent).Run(t.Context())
	if err != nil || ended == 0 {
		t.Fatalf("%d connections ended, %v", ended, err)
	}
	checkApplied(t, report, list, "0002")
}

// TestAConnectionThatBreaksLaterIsNotReplaced: the migration has run, and may have done
// what is not undone with the transaction.
func TestAConnectionThatBreaksLaterIsNotReplaced(t *testing.T) {
	t.Parallel()
	calls := atomic.Int64{}
	migrations := append(slices.Clone(two), &gormigrate.Migration{ID: "0003", Migrate: func(tx *gorm.DB) error {
		calls.Add(1)
		return tx.Exec("select pg_terminate_backend(pg_backend_pid())").Error
	}})
	report, err := migrator.New(open(t, pgtest.Database(t), plugin.BySchema()), many(t, 1), migrations, silent).Run(t.Context())
	if code(err) != "57P01" || calls.Load() != 1 || report.Results[0].State != migrator.Failed {
		t.Errorf("%d calls, %+v, %v", calls.Load(), report.Results, err)
	}
}

// TestWordsOfTheLockInDataAreAnErrorOfTheMigration: PostgreSQL quotes the value that it can't convert,
// with the code that a lock held by another process has. The run ends, and says which migration failed.
func TestWordsOfTheLockInDataAreAnErrorOfTheMigration(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	db, list := open(t, dsn, plugin.BySchema()), tenants(t, "acme")
	fails := func(sql string) []*gormigrate.Migration {
		return []*gormigrate.Migration{
			{ID: "0001", Migrate: func(tx *gorm.DB) error {
				return tx.Exec(`create table names (v text); insert into names values ('"tenantry: another process is at work on the tenant"')`).Error
			}},
			{ID: "0002", Migrate: func(tx *gorm.DB) error { return tx.Exec(sql).Error }},
		}
	}
	for _, sql := range []string{
		"alter table names alter v type regconfig using v::regconfig",
		"select 1; alter table names alter v type regconfig using v::regconfig",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		report, err := migrator.New(db, list, fails(sql)).Run(ctx)
		if code(err) != "42704" || ctx.Err() != nil || report.Results[0].Attempts != 1 {
			t.Errorf("%s: got %+v, %v", sql, report, err)
		}
	}
}
