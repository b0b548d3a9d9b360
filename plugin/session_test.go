package plugin_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// oneConnection has the two tenants share a single connection, so that whatever
// the one leaves in the session is there for the other.
func oneConnection(t *testing.T) (*gorm.DB, string) {
	t.Helper()
	db, _, dsn := twoTenants(t, nil, plugin.WithMaxConns(1))
	return db, dsn
}

func title(t *testing.T, db *gorm.DB, id string) string {
	t.Helper()
	var title string
	if err := db.WithContext(as(t, id)).Raw("select title from invoices where id = ?", 1).Scan(&title).Error; err != nil {
		t.Errorf("read as %s: %v", id, err)
	}
	return title
}

func TestTemporaryTablesDoNotReachTheNextTenant(t *testing.T) {
	t.Parallel()
	makers := map[string]func(tx *gorm.DB) error{
		"CREATE TEMP TABLE": func(tx *gorm.DB) error {
			return tx.Exec("create temp table scratch as select title from invoices").Error
		},
		"SELECT INTO": func(tx *gorm.DB) error { return tx.Exec("select title into temp scratch from invoices").Error },
		"a script": func(tx *gorm.DB) error {
			return tx.Exec("create temp table scratch (title text); insert into scratch select title from invoices").Error
		},
		"a function's secret": func(tx *gorm.DB) error {
			return tx.Exec("do $$ begin execute 'create te'||'mp table scratch as select title from invoices'; end $$").Error
		},
		"a temporary view": func(tx *gorm.DB) error { return tx.Exec("create temp view scratch as select 'a'::text as title").Error },
		"within a transaction": func(tx *gorm.DB) error {
			return tx.Transaction(func(tx *gorm.DB) error {
				return tx.Exec("create temp table scratch as select title from invoices").Error
			})
		},
		"through pgx": func(tx *gorm.DB) error {
			return tx.Transaction(func(tx *gorm.DB) error {
				return plugin.WithConn(tx, func(c *pgx.Conn) error {
					_, err := c.Exec(context.Background(), "create temp table scratch as select title from invoices")
					return err
				})
			})
		},
	}
	users := map[string]func(tx *gorm.DB) ([]string, error){
		"a read": func(tx *gorm.DB) (out []string, err error) {
			err = tx.Raw("select title from scratch where title <> ?", "").Scan(&out).Error
			return out, err
		},
		"IF NOT EXISTS": func(tx *gorm.DB) (out []string, err error) {
			err = tx.Connection(func(tx *gorm.DB) error {
				if err := tx.Exec("create temp table if not exists scratch (title text)").Error; err != nil {
					return err
				}
				return tx.Raw("select title from scratch").Scan(&out).Error
			})
			return out, err
		},
		"a transaction": func(tx *gorm.DB) (out []string, err error) {
			err = tx.Transaction(func(tx *gorm.DB) error { return tx.Raw("select title from scratch").Scan(&out).Error })
			return out, err
		},
		"a script": func(tx *gorm.DB) ([]string, error) {
			return nil, tx.Exec("select 1; insert into invoices (title) select title from scratch").Error
		},
		"DO": func(tx *gorm.DB) ([]string, error) {
			return nil, tx.Exec("do $$ begin insert into invoices (title) select title from scratch; end $$").Error
		},
		"DO that commits": func(tx *gorm.DB) (out []string, err error) {
			err = tx.Exec("do $$ begin create temp table if not exists scratch (title text); insert into labels (name) select title from scratch; commit; end $$").Error
			return out, errors.Join(err, tx.Raw("select name from labels where name not like 'label%'").Scan(&out).Error)
		},
		"after a DO that fails": func(tx *gorm.DB) (out []string, err error) {
			err = tx.Connection(func(tx *gorm.DB) error {
				tx = tx.Session(&gorm.Session{NewDB: true}) // each statement with an error of its own
				if err := tx.Exec("do $$ begin raise exception 'no'; end $$").Error; err == nil {
					return errors.New("the exception is lost")
				}
				return tx.Raw("select title from scratch").Scan(&out).Error
			})
			return out, err
		},
		"after a statement that was never sent": func(tx *gorm.DB) (out []string, err error) {
			err = tx.Connection(func(tx *gorm.DB) error {
				pool := tx.Statement.ConnPool
				if _, err := pool.ExecContext(tx.Statement.Context, "select 1", make([]any, 65536)...); err == nil {
					return errors.New("65536 parameters were sent")
				}
				return tx.Raw("select title from scratch").Scan(&out).Error
			})
			return out, err
		},
	}
	for making, mk := range makers {
		for using, use := range users {
			t.Run(making+", "+using, func(t *testing.T) {
				t.Parallel()
				db, _ := oneConnection(t)
				if err := mk(db.WithContext(as(t, "a"))); err != nil {
					t.Fatal(err)
				}
				for _, id := range []string{"b", "a"} { // not even the same tenant's next statement
					seen, err := use(db.WithContext(as(t, id)))
					if len(seen) > 0 {
						t.Errorf("%s sees %q", id, seen)
					}
					if err != nil {
						mustSay(t, err, "42P01") // there is no such table: right
					}
				}
				if got := title(t, db, "b"); got != "b" {
					t.Errorf("b reads %q", got)
				}
			})
		}
	}
}

func TestATemporaryTableWorksOnAPinnedConnection(t *testing.T) {
	t.Parallel()
	db, _ := oneConnection(t)
	err := db.WithContext(as(t, "a")).Connection(func(tx *gorm.DB) error {
		var n int
		return errors.Join(
			tx.Exec("create temp table scratch as select title from invoices").Error,
			tx.Raw("select count(*) from scratch").Scan(&n).Error,
			tx.Exec("drop table scratch").Error)
	})
	if err != nil {
		t.Error(err)
	}
}

func TestATemporaryTableDoesNotShadowTheTenants(t *testing.T) {
	t.Parallel()
	db, _ := oneConnection(t)
	err := db.WithContext(as(t, "b")).Transaction(func(tx *gorm.DB) error {
		if err := tx.Exec("do $$ begin create temp table invoices (id bigint, title text, cents bigint); end $$").Error; err != nil {
			return err
		}
		var row Invoice
		if err := tx.First(&row).Error; err != nil || row.Title != "b" {
			return fmt.Errorf("read %q: %w", row.Title, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestSessionStateDoesNotReachTheNextTenant lets a leave state in the one
// session in every way, and looks for it as b.
func TestSessionStateDoesNotReachTheNextTenant(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		leave string // run as a
		look  string // run as b; must give want or an error of code
		want  string
		code  string
	}{
		{"SET search_path", "set search_path = tenant_a", "select title from invoices", "b", ""},
		{"SET SESSION search_path", "set session search_path to tenant_a, public", "select title from invoices", "b", ""},
		{"RESET search_path", "reset search_path", "select title from invoices", "b", ""},
		{"RESET ALL", "RESET ALL", "select title from invoices", "b", ""},
		{"DISCARD ALL", "discard all", "select title from invoices", "b", ""},
		{"set_config", "select set_config('search_path', 'tenant_a', false)", "select title from invoices", "b", ""},
		{"set_config in a function", "do $$ begin perform Set_Config('app.who', 'a', false); end $$", "select coalesce(current_setting('app.who', true), '')", "", ""},
		{"SET in DO", "do $$ begin set app.who = 'a'; end $$", "select coalesce(current_setting('app.who', true), '')", "", ""},
		{"a setting named local", "set local.who = 'a'", "select coalesce(current_setting('local.who', true), '')", "", ""},
		{"a custom setting", "set app.who = 'a'", "select coalesce(current_setting('app.who', true), '')", "", ""},
		{"a comment before SET", "/* x; */ -- y\n set app.who = 'a'", "select coalesce(current_setting('app.who', true), '')", "", ""},
		{"SET in a script", "select 1; set app.who = 'a'", "select coalesce(current_setting('app.who', true), '')", "", ""},
		{"PREPARE", "prepare q as select title from tenant_a.invoices", "execute q", "", "26000"},
		{"a cursor WITH HOLD", "declare c cursor with hold for select title from invoices", "fetch c", "", "34000"},
		{"an advisory lock", "select pg_advisory_lock(4711)", "select count(*)::text from pg_locks l join pg_database d on d.oid = l.database where locktype = 'advisory' and datname = current_database()", "0", ""},
		{"LISTEN", "listen news", "select count(*)::text from pg_listening_channels()", "0", ""},
	}
	for _, tt := range tests {
		for _, inTx := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, in a transaction: %t", tt.name, inTx), func(t *testing.T) {
				t.Parallel()
				if inTx && (tt.name == "DISCARD ALL") {
					return // PostgreSQL refuses it there
				}
				db, _ := oneConnection(t)
				a := db.WithContext(as(t, "a"))
				leave := func(tx *gorm.DB) error { return tx.Exec(tt.leave).Error }
				err := leave(a)
				if inTx {
					err = a.Transaction(leave)
				}
				if err != nil {
					t.Fatal(err)
				}
				var got string
				err = db.WithContext(as(t, "b")).Raw(tt.look).Scan(&got).Error
				for end := time.Now().Add(10 * time.Second); tt.name == "an advisory lock" && got != tt.want && time.Now().Before(end); {
					// the lock lives until the server has noticed that its session is closed
					err = db.WithContext(as(t, "b")).Raw(tt.look).Scan(&got).Error
				}
				if tt.code != "" {
					mustSay(t, err, tt.code)
				} else if err != nil || got != tt.want {
					t.Errorf("b sees %q, error %v, want %q", got, err, tt.want)
				}
			})
		}
	}
}

func TestSetLocalEndsWithItsTransactionAndKeepsTheConnection(t *testing.T) {
	t.Parallel()
	db, p, _ := twoTenants(t, nil, plugin.WithMaxConns(1))
	before := p.Stats().Base.NewConnsCount()
	for range 3 {
		err := db.WithContext(as(t, "a")).Transaction(func(tx *gorm.DB) error {
			return tx.Exec("set local lock_timeout = '1s'").Error
		})
		if err != nil {
			t.Fatal(err)
		}
		var got string
		if err := db.WithContext(as(t, "b")).Raw("show lock_timeout").Scan(&got).Error; err != nil || got != "0" {
			t.Errorf("b sees lock_timeout %q, error %v", got, err)
		}
	}
	if after := p.Stats().Base.NewConnsCount(); after != before {
		t.Errorf("%d connections were opened for SET LOCAL", after-before)
	}
}

// TestRawTransactionControl: the settings end with the transaction, so SQL text
// must not end it behind the driver's back.
func TestRawTransactionControl(t *testing.T) {
	t.Parallel()
	db, _ := oneConnection(t)
	a := db.WithContext(as(t, "a"))
	for _, sql := range []string{"commit", "ROLLBACK", "/* x */ end", "abort", "commit and chain", "select 1; commit", "rollback and chain", "prepare transaction 'x'", "begin"} {
		err := a.Transaction(func(tx *gorm.DB) error { return tx.Exec(sql).Error })
		mustSay(t, err, "transaction")
	}
	for _, sql := range []string{
		"begin; update invoices set cents = 5; commit", "commit; update invoices set cents = 5",
		`select E'a''\''; commit; update invoices set cents = 5 --'`,
		"create function f() returns void begin atomic end; end; update invoices set cents = 5",
		"create or replace view v as select x.begin atomic from (select 1 as begin) x; end; update invoices set cents = 5",
		"create domain atomic as int; create function f(begin atomic) returns int language sql as 'select 1'; end; update invoices set cents = 5",
	} {
		mustSay(t, a.Exec(sql).Error, "db.Transaction")
	}
	var cents int64
	if err := a.Raw("select cents from invoices where id = 1").Scan(&cents).Error; err != nil || cents != 0 {
		t.Errorf("a refused script has left %d cents, error %v", cents, err)
	}
	// a whole transaction as text on a pinned connection is the user's own affair, and safe
	err := a.Connection(func(tx *gorm.DB) error {
		var title string
		return errors.Join(tx.Exec("begin").Error, tx.Raw("select title from invoices where id = 1").Scan(&title).Error, tx.Exec("commit").Error)
	})
	if err != nil {
		t.Error(err)
	}
	if got := title(t, db, "b"); got != "b" {
		t.Errorf("b reads %q", got)
	}
}

func TestAnotherScopeInATransactionIsAMismatch(t *testing.T) {
	t.Parallel()
	db, p, _ := twoTenants(t, nil)
	err := db.WithContext(as(t, "a")).Transaction(func(tx *gorm.DB) error {
		var mismatch *scope.MismatchError
		err := tx.WithContext(as(t, "b")).Find(&[]Invoice{}).Error
		if !errors.As(err, &mismatch) || mismatch.Began != tenant(t, "a") || mismatch.Asked != tenant(t, "b") {
			return fmt.Errorf("statement of b: %w", err)
		}
		if err := tx.WithContext(scope.Shared(t.Context())).Find(&[]Invoice{}).Error; !errors.As(err, &mismatch) {
			return fmt.Errorf("shared statement: %w", err)
		}
		if err := tx.WithContext(t.Context()).Find(&[]Invoice{}).Error; !errors.Is(err, scope.ErrNone) {
			return fmt.Errorf("statement without a scope: %w", err)
		}
		var rows []Invoice // nothing of this has hurt the transaction
		if err := tx.Find(&rows).Error; err != nil || len(rows) != 1 || rows[0].Title != "a" {
			return fmt.Errorf("read %v: %w", rows, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if got := p.Stats().Mismatched; got != 2 {
		t.Errorf("%d mismatches are counted, want 2", got)
	}
}

func TestAPinnedConnectionFollowsTheContext(t *testing.T) {
	t.Parallel()
	db, _ := oneConnection(t)
	err := db.WithContext(as(t, "a")).Connection(func(tx *gorm.DB) error {
		for _, id := range []string{"a", "b", "a", "a", "b"} {
			var row Invoice
			if err := tx.WithContext(as(t, id)).First(&row).Error; err != nil || row.Title != id {
				return fmt.Errorf("as %s read %q: %w", id, row.Title, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestOpenRowsOfAnotherTenantAreInTheWay(t *testing.T) {
	t.Parallel()
	db, _ := oneConnection(t)
	pool, err := db.DB()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pool.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rows, err := conn.QueryContext(as(t, "a"), "select title from invoices, generate_series(1, 100000)")
	if err != nil {
		t.Fatal(err)
	}
	_, err = conn.ExecContext(as(t, "b"), "update invoices set cents = 1")
	mustSay(t, err, "close them first")
	n := 0
	for ; rows.Next(); n++ {
		var title string
		if err := rows.Scan(&title); err != nil || title != "a" {
			t.Fatal(title, err)
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil || n != 100000 {
		t.Error(n, err)
	}
	if _, err = conn.ExecContext(as(t, "b"), "update invoices set cents = 1"); err != nil {
		t.Error(err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
}

func TestAHookThatMakesTemporaryTablesIsAnError(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	mustExec(t, admin(t, dsn), "create schema tenant_a")
	db, _ := open(t, dsn, nil, plugin.BySchema(), plugin.WithPoolConfig(func(c *pgxpool.Config) error {
		c.AfterConnect = func(ctx context.Context, c *pgx.Conn) error {
			_, err := c.Exec(ctx, "create temp table scratch (n int)")
			return err
		}
		return nil
	}))
	mustSay(t, db.WithContext(as(t, "a")).Raw("select 1").Scan(new(int)).Error, "temporary tables", "hook")
	mustSay(t, db.WithContext(as(t, "a")).Transaction(func(tx *gorm.DB) error { return tx.Raw("select 1").Scan(new(int)).Error }), "temporary tables", "hook")
}

// TestFunctionsInASharedSchema: their plans are cached in the session, which
// serves both tenants.
func TestFunctionsInASharedSchema(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	pool := admin(t, dsn)
	mustExec(t, pool, "create schema commons", "create schema tenant_a", "create schema tenant_b",
		"create table tenant_a.invoices (title text, cents bigint)", "insert into tenant_a.invoices values ('a', 1)",
		"create table tenant_b.invoices (cents numeric, extra int, title varchar(9))", "insert into tenant_b.invoices values (1, 2, 'b')",
		"set check_function_bodies = off",
		"create function commons.plp() returns text language plpgsql as $$ declare t text; begin select title into t from invoices; return t; end $$",
		"create function commons.expr() returns text language plpgsql as $$ begin return (select title from invoices); end $$",
		"create function commons.sq() returns text language sql as $$ select title::text from invoices $$",
		"create function commons.dyn() returns text language plpgsql as $$ declare t text; begin execute 'select title from invoices' into t; return t; end $$")
	db, _ := open(t, dsn, nil, plugin.BySchema(plugin.WithSharedSchemas("commons")), plugin.WithMaxConns(1))
	for _, f := range []string{"plp", "expr", "sq", "dyn"} {
		for round := range 8 { // more than it takes to make a plan generic
			for _, id := range []string{"a", "b"} {
				var got string
				if err := db.WithContext(as(t, id)).Raw("select " + f + "()").Scan(&got).Error; err != nil || got != id {
					t.Errorf("%s for %s, round %d: %q, error %v", f, id, round, got, err)
				}
			}
		}
	}
}

func TestWhatAWithConnLeavesDoesNotReachTheNextTenant(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		leave func(c *pgx.Conn) error
		kept  bool // the connection
	}{
		"nothing":   {func(c *pgx.Conn) error { _, err := c.Exec(context.Background(), "select $1::int", 1); return err }, true},
		"SET LOCAL": {func(c *pgx.Conn) error { _, err := c.Exec(context.Background(), "set local app.who = 'a'"); return err }, true},
		"SET":       {func(c *pgx.Conn) error { _, err := c.Exec(context.Background(), "set app.who = 'a'"); return err }, false},
		"SET in DO": {func(c *pgx.Conn) error {
			_, err := c.Exec(context.Background(), "do $$ begin set app.who = 'a'; end $$")
			return err
		}, false},
		"a prepared statement": {func(c *pgx.Conn) error {
			_, err := c.Prepare(context.Background(), "q", "select title from invoices")
			return err
		}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, p, _ := twoTenants(t, nil, plugin.WithMaxConns(1))
			before := p.Stats().Base.NewConnsCount()
			err := db.WithContext(as(t, "a")).Transaction(func(tx *gorm.DB) error { return plugin.WithConn(tx, tt.leave) })
			if err != nil {
				t.Fatal(err)
			}
			var who string
			if err := db.WithContext(as(t, "b")).Raw("select coalesce(current_setting('app.who', true), '')").Scan(&who).Error; err != nil || who != "" {
				t.Errorf("b sees %q, error %v", who, err)
			}
			if kept := p.Stats().Base.NewConnsCount() == before; kept != tt.kept {
				t.Errorf("the connection is kept: %t, want %t", kept, tt.kept)
			}
		})
	}
}

func TestWithConnRefuses(t *testing.T) {
	t.Parallel()
	db, _ := oneConnection(t)
	a := db.WithContext(as(t, "a"))
	noop := func(*pgx.Conn) error { return nil }
	mustSay(t, plugin.WithConn(a, noop), "transaction")
	mustSay(t, a.Connection(func(tx *gorm.DB) error { return plugin.WithConn(tx, noop) }), "transaction")
	mustSay(t, a.Transaction(func(tx *gorm.DB) error { return plugin.WithConn(tx, nil) }), "nil")
	boom := errors.New("boom")
	mustBe(t, a.Transaction(func(tx *gorm.DB) error { return plugin.WithConn(tx, func(*pgx.Conn) error { return boom }) }), boom)
	for _, sql := range []string{"commit", "rollback", "commit and chain"} {
		err := a.Transaction(func(tx *gorm.DB) error {
			return plugin.WithConn(tx, func(c *pgx.Conn) error {
				_, _ = c.Exec(context.Background(), sql) // even if f looks away
				return nil
			})
		})
		mustSay(t, err, "begins or ends a transaction")
	}
	mustSay(t, a.Transaction(func(tx *gorm.DB) error { return plugin.WithConn(tx.WithContext(as(t, "b")), noop) }), "belongs to tenant")
}

func TestSharedScope(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	pool := admin(t, dsn)
	mustExec(t, pool, "create schema tenant_a", "create schema commons",
		"create table commons.plans (name text)", "insert into commons.plans values ('gold')",
		"create table public.plans (name text)", "insert into public.plans values ('public')")
	read := func(db *gorm.DB, ctx context.Context) string {
		t.Helper()
		var name string
		if err := db.WithContext(ctx).Raw("select name from plans").Scan(&name).Error; err != nil {
			return err.Error()
		}
		return name
	}
	shared, _ := open(t, dsn, nil, plugin.BySchema(plugin.WithSharedSchemas("commons")))
	if got := read(shared, as(t, "a")); got != "gold" {
		t.Errorf("a tenant reads %q from the listed shared schema", got)
	}
	if got := read(shared, scope.Shared(t.Context())); got != "public" {
		t.Errorf("the shared scope reads %q, listing a schema for tenants moves it", got)
	}
	elsewhere, _ := open(t, dsn, nil, plugin.BySchema(plugin.WithSharedScope("commons")))
	if got := read(elsewhere, scope.Shared(t.Context())); got != "gold" {
		t.Errorf("the shared scope reads %q", got)
	}
	if got := read(elsewhere, as(t, "a")); got == "gold" || got == "public" {
		t.Errorf("a tenant reads %q of the shared scope", got)
	}
	missing, _ := open(t, dsn, nil, plugin.BySchema(plugin.WithSharedScope("nowhere")))
	if got := read(missing, scope.Shared(t.Context())); !strings.Contains(got, "WithSharedScope") {
		t.Errorf("the error does not say what to do: %s", got)
	}
	plain, _ := open(t, dsn, nil, plugin.BySchema())
	if got := read(plain, as(t, "a")); got == "public" || got == "gold" {
		t.Errorf("a tenant reads %q though no schema is shared", got)
	}
	if got := read(plain, scope.Shared(t.Context())); got != "public" {
		t.Errorf("the shared scope reads %q, its default is public", got)
	}
}

// TestTheSessionItselfHoldsNothing looks at a pooled connection from inside, past
// the prefix: a statement that loses its settings finds no table at all.
func TestTheSessionItselfHoldsNothing(t *testing.T) {
	t.Parallel()
	db, _ := oneConnection(t)
	if got := title(t, db, "a"); got != "a" {
		t.Fatal(got)
	}
	err := db.WithContext(as(t, "a")).Transaction(func(tx *gorm.DB) error {
		return plugin.WithConn(tx, func(c *pgx.Conn) error {
			var path string
			if err := c.QueryRow(context.Background(), "select reset_val from pg_settings where name = 'search_path'").Scan(&path); err != nil || path != "" && path != `""` {
				return fmt.Errorf("the session's own search_path is %q: %w", path, err)
			}
			return nil
		})
	})
	if err != nil {
		t.Error(err)
	}
}

// TestCodeThatEndsTransactions: the settings of a statement end with its
// transaction, but the code goes on.
func TestCodeThatEndsTransactions(t *testing.T) {
	t.Parallel()
	db, dsn := oneConnection(t)
	mustExec(t, admin(t, dsn), "create table public.invoices (id bigint, title text, cents bigint)")
	for _, id := range []string{"a", "b"} {
		err := db.WithContext(as(t, id)).Exec(`create procedure batch(step bigint default 1) language plpgsql as $$ begin
			update invoices set cents = cents + step; commit; update invoices set cents = cents + step; end $$`).Error
		if err != nil {
			t.Fatal(err)
		}
	}
	a := db.WithContext(as(t, "a"))
	if err := a.Exec("call batch()").Error; err != nil {
		t.Errorf("CALL: %v", err)
	}
	if err := a.Exec("do $$ begin update invoices set cents = cents + 1; commit; update invoices set cents = cents + 1; end $$").Error; err != nil {
		t.Errorf("DO: %v", err)
	}
	mustSay(t, a.Exec("select 1; call batch()").Error, "2D000")
	mustSay(t, a.Transaction(func(tx *gorm.DB) error { return tx.Exec("call batch(?)", 100).Error }), "2D000")
	mustSay(t, a.Exec("do $$ begin perform 1/0; end $$").Error, "22012")
	// With arguments it runs in a transaction, where its code may end none.
	mustSay(t, a.Exec("call batch(?)", 1000).Error, "2D000")
	if err := a.Exec("create procedure add(step bigint) language sql as $$ update invoices set cents = cents + step $$").Error; err != nil {
		t.Fatal(err)
	}
	if err := a.Exec("call add(?)", 10).Error; err != nil {
		t.Errorf("CALL with an argument: %v", err)
	}
	mustSay(t, a.Raw("call add(?)", 100).Scan(&struct{}{}).Error, "db.Transaction")
	var cents []int64
	if err := a.Raw("select cents from invoices").Scan(&cents).Error; err != nil || fmt.Sprint(cents) != "[14]" {
		t.Errorf("a has %v cents, error %v", cents, err)
	}
	if err := db.WithContext(as(t, "b")).Raw("select cents from invoices").Scan(&cents).Error; err != nil || fmt.Sprint(cents) != "[0]" {
		t.Errorf("b has %v cents, error %v", cents, err)
	}
	var shared int64
	if err := db.WithContext(scope.Shared(t.Context())).Raw("select count(*) from invoices").Scan(&shared).Error; err != nil || shared != 0 {
		t.Errorf("the shared table has %d rows, error %v", shared, err)
	}
}

// TestAFailedPingKeepsTheConnection: the shell must not go on using a real
// connection that lies in the pool again.
func TestAFailedPingKeepsTheConnection(t *testing.T) {
	t.Parallel()
	db, p, _ := twoTenants(t, nil, plugin.WithMaxConns(1))
	pool, err := db.DB()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pool.Conn(as(t, "a"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(as(t, "a"), "set app.who = 'a'"); err != nil {
		t.Fatal(err)
	}
	err = conn.Raw(func(c any) error { // past database/sql, which looks at the context first
		ended, cancel := context.WithCancel(as(t, "a"))
		cancel()
		err := c.(driver.Pinger).Ping(ended)
		if n := p.Stats().Base.AcquiredConns(); n != 1 {
			t.Errorf("%d connections are held after the ping, want 1", n)
		}
		return err
	})
	if err == nil {
		t.Error("a ping with an ended context succeeds")
	}
	if err := conn.Close(); err != nil && !errors.Is(err, sql.ErrConnDone) && !errors.Is(err, driver.ErrBadConn) {
		t.Error(err)
	}
	var who string
	if err := db.WithContext(as(t, "b")).Raw("select coalesce(current_setting('app.who', true), '')").Scan(&who).Error; err != nil || who != "" {
		t.Errorf("b sees %q, error %v", who, err)
	}
}

// TestTextIsRefusedWhereItCanNotBeRead: with standard_conforming_strings off a string ends
// elsewhere than it seems, and what follows could be a COMMIT, or SET.
func TestTextIsRefusedWhereItCanNotBeRead(t *testing.T) {
	t.Parallel()
	db, _ := oneConnection(t)
	for _, off := range []string{"set local standard_conforming_strings = off", "select set_config('standard_conforming_strings', 'off', true)", "do $$ begin set standard_conforming_strings = off; end $$"} {
		for _, hidden := range []string{`select 'it\'' ; commit; begin; --'`, `select 'it\'' ; set application_name = 'left by a'; --'`} {
			err := db.WithContext(as(t, "a")).Transaction(func(tx *gorm.DB) error {
				if err := tx.Exec(off).Error; err != nil {
					t.Errorf("%s: %v", off, err)
				}
				return tx.Exec(hidden).Error
			})
			mustSay(t, err, "standard_conforming_strings")
		}
	}
	var name string
	if err := db.WithContext(as(t, "b")).Raw("show application_name").Scan(&name).Error; err != nil || name == "left by a" {
		t.Errorf("b's session has the name %q, error %v", name, err)
	}
	if err := db.WithContext(as(t, "a")).Exec(`update invoices set title = 'a\b' where id = 1`).Error; err != nil {
		t.Error(err)
	}
}

// TestCommitSaysThatTheTransactionIsGone, where the function that was lent the connection
// has ended it unseen.
func TestCommitSaysThatTheTransactionIsGone(t *testing.T) {
	t.Parallel()
	db, _ := oneConnection(t)
	err := db.WithContext(as(t, "a")).Transaction(func(tx *gorm.DB) error {
		_ = plugin.WithConn(tx, func(c *pgx.Conn) error {
			var b pgx.Batch
			b.Queue("rollback")
			return c.SendBatch(tx.Statement.Context, &b).Close()
		})
		return nil
	})
	mustBe(t, err, pgx.ErrTxCommitRollback)
}

// TestWhatAFunctionLeavesInAReportedParameterEndsWithItsConnection: the server reports these
// parameters, so that it is seen although the text does not show it.
func TestWhatAFunctionLeavesInAReportedParameterEndsWithItsConnection(t *testing.T) {
	t.Parallel()
	db, p, dsn := twoTenants(t, nil, plugin.WithMaxConns(1), plugin.WithPoolConfig(func(c *pgxpool.Config) error {
		c.AfterConnect = func(ctx context.Context, c *pgx.Conn) error { // what a hook sets is the pool's
			_, err := c.Exec(ctx, "set timezone = 'Europe/Vienna'")
			return err
		}
		return nil
	}))
	mustExec(t, admin(t, dsn), "create function public.leave(name text, value text, is_local bool) returns void language plpgsql as $$ begin perform set_config(name, value, is_local); end $$")
	for name, value := range map[string]string{
		"default_transaction_read_only": "on", "TimeZone": "Asia/Tokyo", "DateStyle": "SQL, DMY", "IntervalStyle": "iso_8601", "application_name": "left by a",
	} {
		for _, local := range []bool{false, true} {
			var before, after string
			show := func(into *string) error {
				return db.WithContext(as(t, "b")).Raw("select current_setting(?)", name).Scan(into).Error
			}
			if err := show(&before); err != nil {
				t.Fatal(err)
			}
			opened := p.Stats().Base.NewConnsCount()
			if err := db.WithContext(as(t, "a")).Exec("select public.leave(?, ?, ?)", name, value, local).Error; err != nil {
				t.Fatal(err)
			}
			if err := show(&after); err != nil || after != before {
				t.Errorf("%s: b has %q, error %v; want %q", name, after, err, before)
			}
			if n := p.Stats().Base.NewConnsCount() - opened; (n == 1) == local {
				t.Errorf("%s, local %t: %d connections were opened", name, local, n)
			}
		}
	}
	if err := db.WithContext(as(t, "b")).Create(&Invoice{Title: "x"}).Error; err != nil {
		t.Error(err)
	}
}
