package plugin_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// stackTracer keeps which functions of this module stand between an application and pgx.
type stackTracer struct {
	mu     sync.Mutex
	frames []string // of the last statement
}

func (s *stackTracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	if data.SQL == "begin" { // shown for the tracer's sake, before anything is sent
		return ctx
	}
	var found []string
	pcs := make([]uintptr, 200)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)])
	for {
		f, more := frames.Next()
		if strings.HasPrefix(f.Function, "github.com/tenantry/tenantry/") && !strings.Contains(f.Function, "_test.") {
			found = append(found, f.Function)
		}
		if !more {
			break
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frames = found
	return ctx
}

func (*stackTracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// TestAStatementPassesFewFrames: whoever reads a stack trace, or the code, has a short way from
// database/sql to pgx.
func TestAStatementPassesFewFrames(t *testing.T) {
	t.Parallel()
	tr := &stackTracer{}
	db, _, _ := twoTenants(t, nil, plugin.WithMaxConns(1), plugin.WithPoolConfig(func(c *pgxpool.Config) error {
		c.ConnConfig.Tracer = tr
		return nil
	}))
	a := db.WithContext(as(t, "a"))
	in := func(run func(*gorm.DB) error) func() error { return func() error { return a.Transaction(run) } }
	for name, tt := range map[string]struct {
		most int
		run  func() error
	}{
		"SELECT":                        {5, func() error { return a.First(&Invoice{}, 1).Error }},
		"a text by itself":              {6, func() error { return a.Exec("update invoices set cents = 1").Error }},
		"SELECT first in a transaction": {6, in(func(tx *gorm.DB) error { return tx.First(&Invoice{}, 1).Error })},
		"INSERT first in a transaction": {6, in(func(tx *gorm.DB) error { return tx.Create(&Invoice{Title: "x"}).Error })},
	} {
		if err := tt.run(); err != nil {
			t.Fatal(err)
		}
		tr.mu.Lock()
		frames := slices.Clone(tr.frames)
		tr.mu.Unlock()
		if len(frames) == 0 || len(frames) > tt.most {
			t.Errorf("%s passes %d functions of ours, want 1 to %d:\n%s", name, len(frames), tt.most, strings.Join(frames, "\n"))
		}
	}
}

// TestWordsOfARefusalInDataAreNotARefusal: PostgreSQL quotes arguments in the errors of some casts,
// with the code that the driver's own refusals have. They are errors of the statement, which runs
// once and ends no connection.
func TestWordsOfARefusalInDataAreNotARefusal(t *testing.T) {
	t.Parallel()
	for _, words := range []string{
		"tenantry: the session has temporary tables",
		"tenantry: no right to use the schema",
		"tenantry: another process is at work on the tenant",
	} {
		for name, run := range map[string]func(*gorm.DB, string) error{
			"an argument": func(db *gorm.DB, words string) error { return db.Exec("select count_me(), ?::regconfig", words).Error },
			"a setting's name": func(db *gorm.DB, words string) error {
				return db.Exec("select count_me(), current_setting(?)", words).Error
			},
			"a query": func(db *gorm.DB, words string) error {
				return db.Raw("select count_me(), ?::text::regtype", words).Scan(new(any)).Error
			},
			"a text": func(db *gorm.DB, words string) error {
				return db.Exec("select count_me(), '" + words + "'::regconfig").Error
			},
			"a script": func(db *gorm.DB, words string) error {
				return db.Exec("select count_me(); select '" + words + "'::regconfig").Error
			},
			"a DO": func(db *gorm.DB, words string) error {
				return db.Exec("do $$ begin perform count_me(); perform current_setting('" + words + "'); end $$").Error
			},
			"a savepoint": func(db *gorm.DB, words string) error {
				return db.Transaction(func(tx *gorm.DB) error { return tx.Exec("select count_me(), ?::regconfig", words).Error })
			},
			"a text in a transaction": func(db *gorm.DB, words string) error {
				return db.Transaction(func(tx *gorm.DB) error { return tx.Exec("select count_me(); select '" + words + "'::regconfig").Error })
			},
		} {
			t.Run(name+"/"+words, func(t *testing.T) {
				t.Parallel()
				db, p, dsn := twoTenants(t, nil, plugin.WithMaxConns(8))
				pool := admin(t, dsn)
				// A sequence counts also what is rolled back.
				mustExec(t, pool, "create sequence tenant_a.runs", "create function tenant_a.count_me() returns bigint language sql volatile as $$ select nextval('tenant_a.runs') $$")
				a := db.WithContext(as(t, "a"))
				opened := p.Stats().Base.NewConnsCount()
				quoted := `"` + words + `"` // as an identifier, which the casts want
				err := run(a, quoted)
				mustSay(t, err, "42704")
				var failed *scope.TenantError
				if errors.As(err, &failed) {
					t.Errorf("the error of a statement is told as one of %q: %v", failed.Op, err)
				}
				if n := one[int64](t, pool, "select last_value from tenant_a.runs"); n != 1 {
					t.Errorf("the statement ran %d times", n)
				}
				if err := a.First(&Invoice{}, 1).Error; err != nil {
					t.Error(err)
				}
				most := int64(0)
				if name == "a DO" { // whose code may leave anything behind
					most = 1
				}
				if n := p.Stats().Base.NewConnsCount() - opened; n > most {
					t.Errorf("%d connections were opened for it", n)
				}
			})
		}
	}
}

// TestARestartHealsItself: what the server has not begun is sent on another connection, and each
// statement runs once.
func TestARestartHealsItself(t *testing.T) {
	t.Parallel()
	const conns = 16
	db, _, dsn := twoTenants(t, nil, plugin.WithMaxConns(conns))
	pool := admin(t, dsn)
	a := db.WithContext(as(t, "a"))
	atOnce := func(n int, run func(i int) error) (errs []error) {
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				if err := run(i); err != nil {
					mu.Lock()
					defer mu.Unlock()
					errs = append(errs, err)
				}
			})
		}
		wg.Wait()
		return errs
	}
	for name, run := range map[string]func(i int) error{
		"reads":  func(int) error { return a.First(&Invoice{}, 1).Error },
		"texts":  func(int) error { return a.Exec("select 1").Error },
		"writes": func(i int) error { return a.Create(&Invoice{Title: fmt.Sprint(i)}).Error },
		"writes by themselves": func(i int) error {
			return a.Session(&gorm.Session{SkipDefaultTransaction: true}).Create(&Invoice{Title: fmt.Sprint(i)}).Error
		},
	} {
		if errs := atOnce(conns, func(int) error { return a.Exec("select pg_sleep(0.05)").Error }); len(errs) > 0 { // opens all of them
			t.Fatal(errs)
		}
		before := one[int64](t, pool, "select count(*) from tenant_a.invoices")
		endOthers(t, pool)
		if errs := atOnce(4*conns, run); len(errs) > 0 {
			t.Errorf("%s: %d of %d failed: %v", name, len(errs), 4*conns, errs[0])
		}
		want := int64(0)
		if strings.HasPrefix(name, "writes") {
			want = 4 * conns
		}
		if n := one[int64](t, pool, "select count(*) from tenant_a.invoices") - before; n != want {
			t.Errorf("%s: %d rows were written, want %d", name, n, want)
		}
	}
}

// TestASilentBreakIsNotTriedAgain outside of a transaction: the statement may have run.
func TestASilentBreakIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	var cuts atomic.Int64
	db, _, dsn := twoTenants(t, nil, plugin.WithMaxConns(2), plugin.WithPoolConfig(cutting(&cuts, "count_me")))
	pool := admin(t, dsn)
	mustExec(t, pool, "create sequence tenant_a.runs", "create function tenant_a.count_me() returns bigint language sql volatile as $$ select nextval('tenant_a.runs') $$")
	a := db.WithContext(as(t, "a"))
	if err := a.Exec("select count_me(), ?::int", 1).Error; err == nil {
		t.Error("no error, although the reply was lost")
	}
	if n := one[int64](t, pool, "select last_value from tenant_a.runs"); n != 1 || cuts.Load() != 1 {
		t.Errorf("the statement ran %d times, its reply was cut %d times", n, cuts.Load())
	}
}

// TestASilentBreakUnderTheFirstStatementBeginsTheTransactionAgain: without COMMIT nothing is left of it.
func TestASilentBreakUnderTheFirstStatementBeginsTheTransactionAgain(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]func(*gorm.DB) error{
		"a query": func(tx *gorm.DB) error { return tx.Raw("select count_me()").Scan(new(int64)).Error },
		"a text":  func(tx *gorm.DB) error { return tx.Exec("select count_me(); select 1").Error },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var cuts atomic.Int64
			db, _, dsn := twoTenants(t, nil, plugin.WithMaxConns(2), plugin.WithPoolConfig(cutting(&cuts, "count_me")))
			pool := admin(t, dsn)
			mustExec(t, pool, "create table tenant_a.runs (n int)", "create function tenant_a.count_me() returns bigint language sql volatile as $$ insert into tenant_a.runs values (1) returning n $$")
			if err := db.WithContext(as(t, "a")).Transaction(first); err != nil {
				t.Error(err)
			}
			if n := one[int64](t, pool, "select count(*) from tenant_a.runs"); n != 1 || cuts.Load() != 1 {
				t.Errorf("%d rows are left, after %d cuts", n, cuts.Load())
			}
		})
	}
}

// TestAFirstTextThatCanNotBeReadFailsItsTransaction as any other failing statement, with the position
// in the text that the application wrote.
func TestAFirstTextThatCanNotBeReadFailsItsTransaction(t *testing.T) {
	t.Parallel()
	db, _, _ := twoTenants(t, nil, plugin.WithMaxConns(1))
	a := db.WithContext(as(t, "a"))
	for _, text := range []string{"select 1; selec 2", "select 1 frm; selec 2"} {
		tx := a.Begin()
		err := tx.Exec(text).Error
		var pgErr *pgconn.PgError
		if !errors.As(err, &pgErr) || pgErr.Code != "42601" || int(pgErr.Position) != strings.LastIndex(text, "selec ")+1 {
			t.Errorf("%q: %v, at %+v", text, err, pgErr)
		}
		mustSay(t, tx.Exec("select 1").Error, "25P02")
		if err := tx.Commit().Error; err == nil {
			t.Error("a failed transaction says that it was committed")
		}
	}
	if got := readTitle(t, a); got != "a" {
		t.Errorf("read %q", got)
	}
}

// TestASessionThatWorksAsAnotherRoleIsReplaced: a function has left it so, which the text does not
// show, and the settings of other tenants are refused there.
func TestASessionThatWorksAsAnotherRoleIsReplaced(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	pool := admin(t, dsn)
	role := "left_" + one[string](t, pool, "select current_database()")
	mustExec(t, pool, "create role "+role, "create schema tenant_a", "create schema tenant_b", "create schema tools",
		"grant usage on schema tenant_a, tools to "+role,
		"create function tools.become() returns void language plpgsql as $$ begin execute 'set role "+role+"'; end $$")
	t.Cleanup(func() { mustExec(t, pool, "drop owned by "+role, "drop role "+role) })
	db, p := open(t, dsn, nil, plugin.BySchema(), plugin.WithMaxConns(1))
	for _, id := range []string{"a", "b"} {
		seed(t, db, id)
	}
	for name, next := range map[string]func(*gorm.DB) error{
		"by itself": func(db *gorm.DB) error { return db.First(&Invoice{}, 1).Error },
		"first in a transaction": func(db *gorm.DB) error {
			return db.Transaction(func(tx *gorm.DB) error { return tx.First(&Invoice{}, 1).Error })
		},
		"a text": func(db *gorm.DB) error { return db.Exec("update invoices set cents = 1; select 1").Error },
		"a text in a transaction": func(db *gorm.DB) error {
			return db.Transaction(func(tx *gorm.DB) error { return tx.Exec("update invoices set cents = 1").Error })
		},
	} {
		if err := db.WithContext(as(t, "a")).Exec("select tools.become(), ?::int", 1).Error; err != nil {
			t.Fatal(err)
		}
		opened := p.Stats().Base.NewConnsCount()
		if err := next(db.WithContext(as(t, "b"))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := p.Stats().Base.NewConnsCount() - opened; n != 1 {
			t.Errorf("%s: %d connections were opened, want 1", name, n)
		}
	}
}
