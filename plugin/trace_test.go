package plugin_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/driver"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// statementLog writes down what pgx shows a tracer, one line for each statement: whose it
// is, its text, its arguments without pgx's own options, and how it ended.
type statementLog struct {
	mu   sync.Mutex // guards seen
	seen []string
}

var (
	_ pgx.QueryTracer   = (*statementLog)(nil)
	_ pgx.PrepareTracer = (*statementLog)(nil)
)

// lineKey is where the context keeps the line of a statement that has begun.
type lineKey struct{}

func (tr *statementLog) TraceQueryStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	args := slices.DeleteFunc(slices.Clone(d.Args), func(arg any) bool {
		switch arg.(type) {
		case pgx.QueryExecMode, pgx.QueryResultFormatsByOID:
			return true
		}
		return false
	})
	return context.WithValue(ctx, lineKey{}, fmt.Sprintf("%s: %s %v", tenantOf(ctx), d.SQL, args))
}

func (tr *statementLog) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, d pgx.TraceQueryEndData) {
	ended := "= " + d.CommandTag.String()
	if d.Err != nil {
		ended = "failed"
	}
	tr.add(fmt.Sprint(ctx.Value(lineKey{}), " ", ended))
}

func (tr *statementLog) TracePrepareStart(ctx context.Context, _ *pgx.Conn, d pgx.TracePrepareStartData) context.Context {
	tr.add(tenantOf(ctx) + ": describe " + d.SQL)
	return ctx
}

func (tr *statementLog) TracePrepareEnd(context.Context, *pgx.Conn, pgx.TracePrepareEndData) {}

func (tr *statementLog) add(line string) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.seen = append(tr.seen, line)
}

// take returns what was seen since it was called last.
func (tr *statementLog) take() []string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	seen := tr.seen
	tr.seen = nil
	return seen
}

func tenantOf(ctx context.Context) string {
	t, err := scope.From(ctx)
	if err != nil {
		return "nobody"
	}
	return t.String()
}

// tracedWork is a unit of application code, and what a tracer sees of it.
type tracedWork struct {
	name string
	run  func(db *gorm.DB) error
	want []string
}

var tracedWorks = []tracedWork{
	{"a query", func(db *gorm.DB) error {
		var n int
		return db.Raw("select count(*) from notes where id > ?", 1).Scan(&n).Error
	}, []string{"a: select count(*) from notes where id > $1 [1] = SELECT 1"}},
	{"a write", exec("insert into notes (id) values (?)", 1), []string{"a: insert into notes (id) values ($1) [1] = INSERT 0 1"}},
	{"an argument whose type must be known", exec("update notes set data = ?", []byte{1}), []string{
		"a: describe update notes set data = $1", `a: update notes set data = $1 [\x01] = UPDATE 1`,
	}},
	{"the same again", exec("update notes set data = ?", []byte{1}), []string{`a: update notes set data = $1 [\x01] = UPDATE 1`}},
	{"no arguments", exec("update notes set id = 2"), []string{"a: update notes set id = 2 [] = UPDATE 1"}},
	{"a script", exec("update notes set id = 3; update notes set id = 4"), []string{"a: update notes set id = 3; update notes set id = 4 [] = UPDATE 1"}},
	{"a body of several statements", exec("create function f() returns int begin atomic select 1; select 2; end"), []string{
		"a: create function f() returns int begin atomic select 1; select 2; end [] = CREATE FUNCTION",
	}},
	{"DO", exec("do $$ begin end $$"), []string{"a: do $$ begin end $$ [] = DO"}},
	{"CALL with arguments", exec("call p(?)", 1), []string{"a: begin [] = BEGIN", "a: call p($1) [1] = CALL", "a: commit [] = COMMIT"}},
	{"what can't run in a transaction", exec("vacuum notes"), []string{"a: vacuum notes [] failed", "a: vacuum notes [] = VACUUM"}},
	{"no statement", exec("-- nothing"), []string{"a: -- nothing [] = "}},
	{"an error", fails(exec("select 1/0")), []string{"a: select 1/0 [] failed"}},
	{"an error in a script", fails(exec("select 1; select 1/0")), []string{"a: select 1; select 1/0 [] failed"}},
	{"a transaction", func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error {
			ctx := tx.Statement.Context
			return firstError(
				tx.SavePoint("s").Error,
				tx.Exec("insert into notes (id) values (?)", 5).Error,
				tx.RollbackTo("s").Error,
				plugin.WithConn(tx, func(c *pgx.Conn) error { _, err := c.Exec(ctx, "select 6"); return err }))
		})
	}, []string{
		"a: begin [] = BEGIN", "a: SAVEPOINT s [] = SAVEPOINT", "a: insert into notes (id) values ($1) [5] = INSERT 0 1",
		"a: ROLLBACK TO SAVEPOINT s [] = ROLLBACK", "a: select 6 [] = SELECT 1", "a: commit [] = COMMIT",
	}},
	{"a transaction that rolls back", func(db *gorm.DB) error {
		tx := db.Begin()
		return firstError(tx.Exec("delete from notes where id = ?", 1).Error, tx.Rollback().Error)
	}, []string{"a: begin [] = BEGIN", "a: delete from notes where id = $1 [1] = DELETE 0", "a: rollback [] = ROLLBACK"}},
	{"a transaction without a statement", func(db *gorm.DB) error { return db.Begin().Rollback().Error }, nil},
}

func exec(sql string, args ...any) func(*gorm.DB) error {
	return func(db *gorm.DB) error { return db.Exec(sql, args...).Error }
}

func fails(run func(*gorm.DB) error) func(*gorm.DB) error {
	return func(db *gorm.DB) error {
		if err := run(db); err == nil {
			return errors.New("it did not fail")
		}
		return nil
	}
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// traced returns a database of the tenant a, one connection and its tracer.
func traced(t *testing.T, cfg *gorm.Config, opts ...plugin.Option) (*gorm.DB, *statementLog) {
	t.Helper()
	dsn := pgtest.Database(t)
	mustExec(t, admin(t, dsn), "create schema tenant_a", "create table tenant_a.notes (id int, data bytea)",
		"create procedure tenant_a.p(int) language sql as 'select 1'")
	tr := &statementLog{}
	db, _ := open(t, dsn, cfg, plugin.BySchema(), append(opts, plugin.WithMaxConns(1), plugin.WithPoolConfig(func(c *pgxpool.Config) error {
		c.ConnConfig.Tracer = tr
		return nil
	}))...)
	return db, tr
}

// TestATracerSeesWhatTheUserWrote, with the user's context, and nothing of what
// takes the statements to their tenant.
func TestATracerSeesWhatTheUserWrote(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]*gorm.Config{"plain": {}, "prepared": {PrepareStmt: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, tr := traced(t, cfg)
			db = db.WithContext(as(t, "a"))
			for _, w := range tracedWorks {
				if err := w.run(db); err != nil {
					t.Errorf("%s: %v", w.name, err)
				}
				if got := tr.take(); !slices.Equal(got, w.want) {
					t.Errorf("%s: saw\n%q, want\n%q", w.name, got, w.want)
				}
			}
		})
	}
}

// TestATracerSeesTheMigratorsBegin, which reads rows and so goes past pgx.
func TestATracerSeesTheMigratorsBegin(t *testing.T) {
	t.Parallel()
	db, tr := traced(t, &gorm.Config{})
	var rows []string
	ctx := driver.WithPreamble(as(t, "a"), func(*driver.Target) driver.Preamble {
		return driver.Preamble{SQL: "select 'before'; ", Query: "copy (select 'behind') to stdout", Rows: func(r []string) error { rows = r; return nil }}
	})
	if err := db.WithContext(ctx).Transaction(func(*gorm.DB) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if got := tr.take(); !slices.Equal(got, []string{"a: begin [] = BEGIN", "a: commit [] = COMMIT"}) || !slices.Equal(rows, []string{"behind"}) {
		t.Errorf("saw %q, and rows %q", got, rows)
	}
}

// TestATracerSeesThatATransactionCanNotBegin, for want of the tenant's schema: at the
// statement that carries BEGIN.
func TestATracerSeesThatATransactionCanNotBegin(t *testing.T) {
	t.Parallel()
	db, tr := traced(t, &gorm.Config{})
	err := db.WithContext(as(t, "nobody")).Transaction(func(tx *gorm.DB) error { return tx.Exec("select ?::int", 1).Error })
	mustSay(t, err, "tenant_nobody", "begin")
	if got := tr.take(); !slices.Equal(got, []string{"nobody: begin [] = BEGIN", "nobody: select $1::int [1] failed"}) {
		t.Errorf("saw %q", got)
	}
}
