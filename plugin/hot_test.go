package plugin_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// kept returns the texts that the session of db's only connection keeps by name, what
// sets the tenant among them.
func kept(t testing.TB, db *gorm.DB) (texts []string) {
	t.Helper()
	if err := db.Raw("select statement from pg_prepared_statements").Scan(&texts).Error; err != nil {
		t.Fatal(err)
	}
	return texts
}

// count returns how many of the texts are want.
func count(texts []string, want string) (n int) {
	for _, text := range texts {
		if text == want {
			n++
		}
	}
	return n
}

const hotText = "select title from invoices where id = $1"

func readTitle(t testing.TB, db *gorm.DB) string {
	t.Helper()
	var title string
	if err := db.Raw("select title from invoices where id = ?", 1).Scan(&title).Error; err != nil {
		t.Fatal(err)
	}
	return title
}

func TestAStatementThatComesOftenIsKeptForEachTenant(t *testing.T) {
	t.Parallel()
	db, _, _ := twoTenants(t, nil, plugin.WithMaxConns(1))
	a, b := db.WithContext(as(t, "a")), db.WithContext(as(t, "b"))
	for range 10 {
		if x, y := readTitle(t, a), readTitle(t, b); x != "a" || y != "b" {
			t.Fatalf("read %q and %q", x, y)
		}
	}
	if n := count(kept(t, a), hotText); n != 2 {
		t.Errorf("it is kept %d times, want once for each tenant", n)
	}
}

func TestAStatementThatComesOnceIsNotKept(t *testing.T) {
	t.Parallel()
	db, _, _ := twoTenants(t, nil, plugin.WithMaxConns(1))
	a := db.WithContext(as(t, "a"))
	readTitle(t, a)
	readTitle(t, a)
	if n := count(kept(t, a), hotText); n != 0 {
		t.Errorf("it is kept %d times", n)
	}
}

func TestNothingIsKeptWithoutHotStatements(t *testing.T) {
	t.Parallel()
	db, _, _ := twoTenants(t, nil, plugin.WithMaxConns(1), plugin.WithHotStatements(0))
	a := db.WithContext(as(t, "a"))
	for range 10 {
		readTitle(t, a)
	}
	if texts := kept(t, a); len(texts) != 0 {
		t.Errorf("the session keeps %q", texts)
	}
}

// TestNoMoreIsKeptThanAllowed sends more statements than may be kept, those of one
// group far more often: they stay, and what is given up ends at the server, too.
func TestNoMoreIsKeptThanAllowed(t *testing.T) {
	t.Parallel()
	const limit = 5
	db, _, _ := twoTenants(t, nil, plugin.WithMaxConns(1), plugin.WithHotStatements(limit))
	a := db.WithContext(as(t, "a"))
	send := func(i int) string {
		text := fmt.Sprintf("select %d + ", i)
		var got int
		if err := a.Raw(text+"?", 1).Scan(&got).Error; err != nil || got != i+1 {
			t.Fatal(got, err)
		}
		return text + "$1"
	}
	favourites := map[string]bool{}
	for i := range 40 {
		for range 4 {
			send(100 + i)
		}
		for j := range 3 {
			for range 4 {
				favourites[send(j)] = true
			}
		}
	}
	found, all := 0, 0
	for _, text := range kept(t, a) {
		if favourites[text] {
			found++
		}
		if strings.HasSuffix(text, " + $1") {
			all++
		}
	}
	if found != len(favourites) || all > limit {
		t.Errorf("of %d statements kept %d are of the favourites, want %d and at most %d", all, found, len(favourites), limit)
	}
}

// change is what a migration does between two executions of a statement that is kept.
type change struct {
	name   string
	before string // makes t
	text   string
	arg    any
	ddl    string
	want   string
}

var changes = []change{
	{"a column is added", "(id int, v text)", "select row_to_json(x)::text from (select * from t where id = ?) x", 1, "alter table tenant_a.t add w int", `{"id":1,"v":"1","w":null}`},
	{"the result gets another type", "(id int, v int)", "select v from t where id = ?", 1, "alter table tenant_a.t alter v type text using 'is ' || v", "is 1"},
	{"all columns of the result, one of them new", "(v int)", "select * from t where v = ?", 1, "alter table tenant_a.t add w int", "1"},
	{"the parameter gets a wider type", "(id int, v text)", "select v from t where id <= ? order by id desc limit 1", int64(1) << 40, "alter table tenant_a.t alter id type bigint", "1"},
	{"the parameter gets another type", "(id int, v text)", "select v from t where id = ?", "one", "alter table tenant_a.t alter id type text using 'one'", "1"},
	{"the table is made anew", "(id int, v text)", "select v from t where id = ?", 1, "drop table tenant_a.t; create table tenant_a.t (v text, id int); insert into tenant_a.t values ('new', 1)", "new"},
	{"a column is dropped and made anew", "(id int, v text)", "select v from t where id = ?", 1, "alter table tenant_a.t drop v; alter table tenant_a.t add v text default 'new'", "new"},
	{"a write returns another type", "(id int, v int)", "update t set id = id where id = ? returning v", 1, "alter table tenant_a.t alter v type text using 'is ' || v", "is 1"},
}

// TestAKeptStatementSurvivesAMigration in each place where kept statements are used: by
// itself, first in a transaction, and later in one, which goes on.
func TestAKeptStatementSurvivesAMigration(t *testing.T) {
	t.Parallel()
	ways := map[string]func(*gorm.DB, func(*gorm.DB) error) error{
		"by itself":              func(db *gorm.DB, f func(*gorm.DB) error) error { return f(db) },
		"first in a transaction": func(db *gorm.DB, f func(*gorm.DB) error) error { return db.Transaction(f) },
		"later in a transaction": func(db *gorm.DB, f func(*gorm.DB) error) error {
			return db.Transaction(func(tx *gorm.DB) error {
				return errors.Join(tx.Exec("select 1").Error, f(tx), tx.Exec("select 1").Error)
			})
		},
	}
	for way, run := range ways {
		for _, c := range changes {
			t.Run(way+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				surviveChange(t, c, run)
			})
		}
	}
}

func surviveChange(t *testing.T, c change, run func(*gorm.DB, func(*gorm.DB) error) error) {
	dsn := pgtest.Database(t)
	pool := admin(t, dsn)
	mustExec(t, pool, "create schema tenant_a", "create table tenant_a.t "+c.before)
	db, _ := open(t, dsn, nil, plugin.BySchema(), plugin.WithMaxConns(1))
	db = db.WithContext(as(t, "a"))
	if err := db.Exec("insert into t select 1 from generate_series(1, 1)").Error; err != nil {
		t.Fatal(err)
	}
	mustExec(t, pool, "update tenant_a.t set v = 1")
	read := func(arg any) (got string, err error) {
		err = run(db, func(tx *gorm.DB) error {
			rows, err := tx.Raw(c.text, arg).Rows()
			if err != nil {
				return err
			}
			defer func() { _ = rows.Close() }()
			for rows.Next() {
				columns, _ := rows.Columns()
				into := make([]any, len(columns))
				into[0] = &got
				for i := 1; i < len(into); i++ {
					into[i] = new(any)
				}
				if err := rows.Scan(into...); err != nil {
					return err
				}
			}
			return rows.Err()
		})
		return got, err
	}
	for range 10 {
		if _, err := read(1); err != nil {
			t.Fatal(err)
		}
	}
	mustExec(t, pool, c.ddl)
	for range 10 {
		if got, err := read(c.arg); err != nil || got != c.want {
			t.Fatalf("read %q, error %v; want %q", got, err, c.want)
		}
	}
}

// TestASessionThatLosesItsStatementsGoesOn: a function ends them past the driver, and
// with them what sets the tenant.
func TestASessionThatLosesItsStatementsGoesOn(t *testing.T) {
	t.Parallel()
	db, _, dsn := twoTenants(t, nil, plugin.WithMaxConns(1))
	mustExec(t, admin(t, dsn), "create function public.lose() returns int language plpgsql as $$ begin execute 'deallocate all'; return 1; end $$")
	a, b := db.WithContext(as(t, "a")), db.WithContext(as(t, "b"))
	ways := map[string]func() error{
		"by itself":        func() error { return nil },
		"in a transaction": func() error { return a.Transaction(func(tx *gorm.DB) error { return tx.First(&Invoice{}, 1).Error }) },
	}
	ways["later in a transaction"] = func() error {
		return a.Transaction(func(tx *gorm.DB) error {
			for range 2 {
				readTitle(t, tx)
				if err := tx.Raw("select public.lose()").Scan(new(int)).Error; err != nil {
					return err
				}
				readTitle(t, tx)
			}
			return nil
		})
	}
	for name, next := range ways {
		for range 10 {
			readTitle(t, a)
			readTitle(t, b)
		}
		if err := a.Raw("select public.lose()").Scan(new(int)).Error; err != nil {
			t.Fatal(err)
		}
		if err := next(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if x, y := readTitle(t, a), readTitle(t, b); x != "a" || y != "b" {
			t.Errorf("%s: read %q and %q", name, x, y)
		}
	}
}

// TestATenantWhoseSchemaIsAnotherNowReadsThatOne: a plan names tables, and must not
// outlive what the tenant's path leads to.
func TestATenantWhoseSchemaIsAnotherNowReadsThatOne(t *testing.T) {
	t.Parallel()
	db, _, dsn := twoTenants(t, nil, plugin.WithMaxConns(1))
	a, b := db.WithContext(as(t, "a")), db.WithContext(as(t, "b"))
	for range 10 {
		readTitle(t, a)
		readTitle(t, b)
	}
	mustExec(t, admin(t, dsn), "alter schema tenant_a rename to x", "alter schema tenant_b rename to tenant_a", "alter schema x rename to tenant_b")
	if x, y := readTitle(t, a), readTitle(t, b); x != "b" || y != "a" {
		t.Errorf("read %q and %q", x, y)
	}
}

// TestStatementsAreKeptInTransactions and leave nothing there: no savepoint, and no transaction
// ID of their own.
func TestStatementsAreKeptInTransactions(t *testing.T) {
	t.Parallel()
	db, _, _ := twoTenants(t, nil, plugin.WithMaxConns(1))
	a := db.WithContext(as(t, "a"))
	for range 5 {
		if err := a.Exec("update invoices set cents = ? where id = ?", 1, 1).Error; err != nil {
			t.Fatal(err)
		}
	}
	err := a.Transaction(func(tx *gorm.DB) error {
		var plans, after, id, row int64
		count := func(n *int64) error {
			return tx.Raw("select generic_plans + custom_plans from pg_prepared_statements where statement like 'update invoices%'").Scan(n).Error
		}
		if err := count(&plans); err != nil {
			return err
		}
		if err := tx.Exec("update invoices set cents = ? where id = ?", 2, 1).Error; err != nil {
			return err
		}
		if err := count(&after); err != nil || after != plans+1 {
			t.Errorf("executed %d times under its name, error %v; want %d", after, err, plans+1)
		}
		if err := errors.Join(tx.Exec("set local enable_seqscan = off").Error, tx.Exec("update invoices set cents = ? where id = ?", 2, 1).Error); err != nil {
			return err
		}
		if err := count(&plans); err != nil || plans != after {
			t.Errorf("executed %d times under its name after SET LOCAL, error %v; want %d as before", plans, err, after)
		}
		if err := tx.Raw("select xmin::text::bigint from invoices where id = 1").Scan(&row).Error; err != nil {
			return err
		}
		if err := tx.Raw("select pg_current_xact_id()::text::bigint & 4294967295").Scan(&id).Error; err != nil || id != row {
			t.Errorf("written by transaction %d, error %v; want %d", row, err, id)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = a.Transaction(func(tx *gorm.DB) error {
		_ = tx.Exec("select 1").Error
		_ = tx.Exec("update invoices set cents = ? where id = ?", 3, 1).Error
		err := tx.Exec("release savepoint tenantry").Error
		mustSay(t, err, "savepoint")
		return err
	})
	mustSay(t, err, "savepoint")
}

// TestAnErrorOfAKeptStatementEndsItsTransaction as that of any other, also where it is sent again.
func TestAnErrorOfAKeptStatementEndsItsTransaction(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		good, bad any
		want      string
	}{
		"in execution": {1, 0, "division by zero"},
		"in bind":      {1, "x", "invalid input syntax"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, _, _ := twoTenants(t, nil, plugin.WithMaxConns(1))
			a := db.WithContext(as(t, "a"))
			const text = "update invoices set cents = 100 / ? where id = ?"
			for range 5 {
				if err := a.Exec(text, tt.good, 1).Error; err != nil {
					t.Fatal(err)
				}
			}
			err := a.Transaction(func(tx *gorm.DB) error {
				if err := tx.Exec("update invoices set cents = 7").Error; err != nil {
					return err
				}
				if err := tx.Transaction(func(inner *gorm.DB) error { return inner.Exec(text, tt.bad, 1).Error }); err == nil {
					t.Error("no error")
				} else {
					mustSay(t, err, tt.want)
				}
				if err := tx.Exec(text, 2, 1).Error; err != nil { // GORM has gone back to its own savepoint
					return err
				}
				mustSay(t, tx.Exec(text, tt.bad, 1).Error, tt.want)
				mustSay(t, tx.Exec(text, tt.good, 1).Error, "aborted")
				return nil
			})
			if err == nil {
				t.Error("it was committed")
			}
			var cents int64
			if err := a.Raw("select cents from invoices where id = ?", 1).Scan(&cents).Error; err != nil || cents != 100 {
				t.Errorf("%d cents, error %v; want what was there before", cents, err)
			}
		})
	}
}

// TestNamesOfApplicationsAreTheirs: those of savepoints, and of cursors in functions.
func TestNamesOfApplicationsAreTheirs(t *testing.T) {
	t.Parallel()
	db, _, dsn := twoTenants(t, nil, plugin.WithMaxConns(1))
	mustExec(t, admin(t, dsn), "create domain tenant_a.positive as int check (value > 0)", "create table tenant_a.p (v tenant_a.positive)",
		"create function public.f(i int) returns int language plpgsql as $$ declare tenantry cursor for select 1; n int; begin open tenantry; fetch tenantry into n; close tenantry; return n + i; end $$")
	a := db.WithContext(as(t, "a"))
	for range 5 {
		if err := errors.Join(a.Exec("insert into p values (?)", 1).Error, a.Raw("select public.f(?)", 1).Scan(new(int)).Error); err != nil {
			t.Fatal(err)
		}
	}
	err := a.Transaction(func(tx *gorm.DB) error {
		if err := errors.Join(tx.Raw("select public.f(?)", 1).Scan(new(int)).Error, tx.SavePoint("tenantry").Error, tx.Exec("update invoices set cents = 7").Error); err != nil {
			return err
		}
		mustSay(t, tx.Exec("insert into p values (?)", -1).Error, "23514")
		return tx.RollbackTo("tenantry").Error
	})
	var cents int64
	if err := errors.Join(err, a.Raw("select cents from invoices where id = ?", 1).Scan(&cents).Error); err != nil || cents == 7 {
		t.Errorf("%d cents, error %v; want what was there at the savepoint", cents, err)
	}
}

// TestAKeptStatementRunsOnce, whatever its error looks like.
func TestAKeptStatementRunsOnce(t *testing.T) {
	t.Parallel()
	db, _, dsn := twoTenants(t, nil, plugin.WithMaxConns(1))
	mustExec(t, admin(t, dsn), "create sequence tenant_a.runs",
		"create function public.run(n int) returns int language plpgsql as $$ begin perform nextval('runs'); if n = 0 then raise 'no' using errcode = '22003'; end if; return n; end $$")
	a := db.WithContext(as(t, "a"))
	for range 5 {
		if err := a.Raw("select public.run(?)", 1).Scan(new(int)).Error; err != nil {
			t.Fatal(err)
		}
	}
	mustSay(t, a.Raw("select public.run(?)", 0).Scan(new(int)).Error, "22003")
	var runs int64
	if err := a.Raw("select last_value from runs").Scan(&runs).Error; err != nil || runs != 6 {
		t.Errorf("it ran %d times, error %v; want 6", runs, err)
	}
}

// canceller is an argument that ends the statement's context when it is looked at, and so before
// anything is sent.
type canceller struct{ cancel func() }

func (c canceller) Value() (driver.Value, error) {
	c.cancel()
	return int64(1), nil
}

// TestNothingStaysOfAStatementThatWasNotSent: what would have been prepared with it is not taken for
// prepared, and the session keeps nothing twice.
func TestNothingStaysOfAStatementThatWasNotSent(t *testing.T) {
	t.Parallel()
	db, _, _ := twoTenants(t, nil, plugin.WithMaxConns(1))
	a := db.WithContext(as(t, "a"))
	const text = "update invoices set cents = ? where id = ?"
	for range 4 {
		if err := a.Exec(text, 1, 1).Error; err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		ctx, cancel := context.WithCancel(as(t, "a"))
		err := a.Transaction(func(tx *gorm.DB) error {
			return errors.Join(tx.Exec("select 1").Error, tx.WithContext(ctx).Exec(text, canceller{cancel}, 1).Error)
		})
		if err == nil {
			t.Fatal("no error")
		}
		err = a.Transaction(func(tx *gorm.DB) error {
			for range 5 {
				if err := tx.Exec("update invoices set cents = ? where id > ?", 1, 1).Error; err != nil {
					return err
				}
			}
			return tx.Exec(text, 1, 1).Error
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]int{}
	for _, text := range kept(t, a) {
		if seen[text]++; seen[text] > 1 && !strings.Contains(text, "pg_class") { // what both tenants' set-up has sent
			t.Errorf("the session keeps %q %d times", text, seen[text])
		}
	}
}

// TestAWideResultWeighsMore than its text says.
func TestAWideResultWeighsMore(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	var columns []string
	for i := range 200 {
		columns = append(columns, fmt.Sprintf("c%d int", i))
	}
	mustExec(t, admin(t, dsn), "create schema tenant_a", "create table tenant_a.wide ("+strings.Join(columns, ", ")+")")
	db, _ := open(t, dsn, nil, plugin.BySchema(), plugin.WithMaxConns(1), plugin.WithHotStatements(30))
	a := db.WithContext(as(t, "a"))
	for i := range 100 {
		if err := a.Raw(fmt.Sprintf("select * from wide where c%d = ?", i%10), 1).Scan(&[]map[string]any{}).Error; err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for _, text := range kept(t, a) {
		if strings.Contains(text, "wide") {
			n++
		}
	}
	if n == 0 || n > 2 {
		t.Errorf("of 30 statements of usual weight %d with 200 columns are kept, want 1 or 2", n)
	}
}

// TestAPathThatAFunctionChangesEndsWithItsTransaction, also for what the session has kept there and
// planned for another tenant's tables.
func TestAPathThatAFunctionChangesEndsWithItsTransaction(t *testing.T) {
	t.Parallel()
	db, _, dsn := twoTenants(t, nil, plugin.WithMaxConns(1))
	mustExec(t, admin(t, dsn), "create function public.turn() returns text language sql as $$ select set_config('search_path', 'tenant_b, pg_temp', true) $$")
	a, b := db.WithContext(as(t, "a")), db.WithContext(as(t, "b"))
	for round := range 4 {
		err := a.Transaction(func(tx *gorm.DB) error {
			if err := tx.Raw("select public.turn()").Scan(new(string)).Error; err != nil {
				return err
			}
			for range 8 {
				if title := readTitle(t, tx); title != "b" {
					t.Errorf("round %d: read %q where the path leads to b", round, title)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for range 8 {
			if x, y := readTitle(t, a), readTitle(t, b); x != "a" || y != "b" {
				t.Fatalf("round %d: read %q and %q", round, x, y)
			}
		}
	}
}

// TestAConstantMeansWhatItMeansInItsTransaction, where a function may have changed a setting.
func TestAConstantMeansWhatItMeansInItsTransaction(t *testing.T) {
	t.Parallel()
	db, _, dsn := twoTenants(t, nil, plugin.WithMaxConns(1))
	mustExec(t, admin(t, dsn), "create function public.move() returns text language sql as $$ select set_config('timezone', 'Asia/Tokyo', true) $$")
	a := db.WithContext(as(t, "a"))
	read := func(tx *gorm.DB) (got int64) {
		if err := tx.Raw("select extract(epoch from timestamptz '2024-01-01 00:00:00+00')::bigint - extract(epoch from timestamptz '2024-01-01 00:00:00')::bigint + ?", 0).Scan(&got).Error; err != nil {
			t.Fatal(err)
		}
		return got
	}
	was := read(a)
	for range 10 {
		read(a)
	}
	err := a.Transaction(func(tx *gorm.DB) error {
		if err := tx.Raw("select public.move()").Scan(new(string)).Error; err != nil {
			return err
		}
		if got := read(tx); got != 9*3600 || got == was {
			t.Errorf("got %d, want what Tokyo's time makes of it", got)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestATransactionBeginsOnAnotherConnectionIfItsOwnHasDied: nothing was done yet.
func TestATransactionBeginsOnAnotherConnectionIfItsOwnHasDied(t *testing.T) {
	t.Parallel()
	db, _, dsn := twoTenants(t, nil, plugin.WithMaxConns(2))
	pool := admin(t, dsn)
	a := db.WithContext(as(t, "a"))
	firsts := map[string]func(tx *gorm.DB) error{
		"a query":       func(tx *gorm.DB) error { return tx.First(&Invoice{}, 1).Error },
		"a text":        func(tx *gorm.DB) error { return tx.Exec("update invoices set cents = 1").Error },
		"a written row": func(tx *gorm.DB) error { return tx.Create(&Invoice{Title: "a"}).Error },
	}
	for name, first := range firsts {
		if err := a.Transaction(func(tx *gorm.DB) error {
			endOthers(t, pool)
			return first(tx)
		}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// endOthers ends all other sessions of the database, and waits until they are gone.
func endOthers(t testing.TB, pool *pgxpool.Pool) {
	t.Helper()
	mustExec(t, pool, "select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()")
}

// TestATransactionThatHasBegunDoesNotMove: what it has done is lost, and it must say so.
func TestATransactionThatHasBegunDoesNotMove(t *testing.T) {
	t.Parallel()
	db, _, dsn := twoTenants(t, nil, plugin.WithMaxConns(2))
	pool := admin(t, dsn)
	err := db.WithContext(as(t, "a")).Transaction(func(tx *gorm.DB) error {
		if err := tx.Create(&Invoice{Title: "lost"}).Error; err != nil {
			return err
		}
		endOthers(t, pool)
		_ = tx.Create(&Invoice{Title: "half"}).Error
		return nil
	})
	if err == nil {
		t.Error("the transaction says that it was committed")
	}
	var n int64
	if err := db.WithContext(as(t, "a")).Model(&Invoice{}).Where("title in ?", []string{"lost", "half"}).Count(&n).Error; err != nil || n != 0 {
		t.Errorf("%d rows are left, error %v", n, err)
	}
}

// TestAFailedFirstStatementFailsItsTransaction as any other.
func TestAFailedFirstStatementFailsItsTransaction(t *testing.T) {
	t.Parallel()
	db, _, _ := twoTenants(t, nil, plugin.WithMaxConns(1))
	a := db.WithContext(as(t, "a"))
	tx := a.Begin()
	if err := tx.Create(&Invoice{ID: 1, Title: "twice"}).Error; err == nil {
		t.Error("a second row with the same key was written")
	}
	mustSay(t, tx.Create(&Invoice{Title: "after"}).Error, "25P02")
	if err := tx.Commit().Error; err == nil {
		t.Error("a failed transaction says that it was committed")
	}
	if got := readTitle(t, a); got != "a" {
		t.Errorf("read %q", got)
	}
}

// TestATransactionHasItsSettingsFromTheFirstStatementOn, whatever is the first.
func TestATransactionHasItsSettingsFromTheFirstStatementOn(t *testing.T) {
	t.Parallel()
	db, _, _ := twoTenants(t, nil, plugin.WithMaxConns(1))
	for level, name := range map[sql.IsolationLevel]string{sql.LevelDefault: "read committed", sql.LevelSerializable: "serializable"} {
		for _, id := range []string{"a", "b"} {
			err := db.WithContext(as(t, id)).Connection(func(db *gorm.DB) error {
				return db.Transaction(func(tx *gorm.DB) error {
					var got, path string
					if err := tx.Raw("select title from invoices where id = ?", 1).Scan(&got).Error; err != nil {
						return err
					}
					if err := tx.Raw("select current_setting('transaction_isolation') || ' ' || current_schema()").Scan(&path).Error; err != nil {
						return err
					}
					if got != id || path != name+" tenant_"+id {
						return fmt.Errorf("read %q under %q", got, path)
					}
					return nil
				}, &sql.TxOptions{Isolation: level})
			})
			if err != nil {
				t.Errorf("%s, %s: %v", level, id, err)
			}
		}
	}
}

// TestATransactionWithoutAStatementNeedsNoServer.
func TestATransactionWithoutAStatementNeedsNoServer(t *testing.T) {
	t.Parallel()
	db, _, dsn := twoTenants(t, nil, plugin.WithMaxConns(1))
	pool := admin(t, dsn)
	for name, end := range map[string]func(*gorm.DB) *gorm.DB{"commit": (*gorm.DB).Commit, "rollback": (*gorm.DB).Rollback} {
		tx := db.WithContext(as(t, "a")).Begin()
		endOthers(t, pool)
		if err := end(tx).Error; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	mustBe(t, db.WithContext(context.Background()).Begin().Error, scope.ErrNone)
}

// TestATableThatAppearsInFrontOfASharedOneIsTheTenants from then on: PostgreSQL does not
// plan anew for it, so nothing is kept where a name can mean two tables.
func TestATableThatAppearsInFrontOfASharedOneIsTheTenants(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	pool := admin(t, dsn)
	mustExec(t, pool, "create schema tenant_a", "create schema common", "create table common.t (v text)", "insert into common.t values ('shared')")
	db, _ := open(t, dsn, nil, plugin.BySchema(plugin.WithSharedSchemas("common")), plugin.WithMaxConns(1))
	read := func() (v string) {
		if err := db.WithContext(as(t, "a")).Raw("select v from t where v <> ?", "").Scan(&v).Error; err != nil {
			t.Fatal(err)
		}
		return v
	}
	for range 10 {
		if v := read(); v != "shared" {
			t.Fatalf("read %q", v)
		}
	}
	mustExec(t, pool, "create table tenant_a.t (v text)", "insert into tenant_a.t values ('own')")
	if v := read(); v != "own" {
		t.Errorf("read %q, want the tenant's own", v)
	}
}

// TestATimeIsWrittenWholeAfterItsColumnHasBecomeWider, as it would not be by a statement
// whose parameter is still a date.
func TestATimeIsWrittenWholeAfterItsColumnHasBecomeWider(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	pool := admin(t, dsn)
	mustExec(t, pool, "create schema tenant_a", "create table tenant_a.t (at date, x float4)")
	db, _ := open(t, dsn, nil, plugin.BySchema(), plugin.WithMaxConns(1))
	a := db.WithContext(as(t, "a"))
	at := time.Date(2026, 5, 4, 15, 4, 5, 0, time.UTC)
	write := func() {
		if err := a.Exec("insert into t values (?, ?)", at, 0.1).Error; err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		write()
	}
	mustExec(t, pool, "delete from tenant_a.t", "alter table tenant_a.t alter at type timestamp, alter x type float8")
	write()
	var got string
	if err := a.Raw("select at::text || ' ' || x::text from t").Scan(&got).Error; err != nil || got != "2026-05-04 15:04:05 0.1" {
		t.Errorf("wrote %q, error %v", got, err)
	}
}

// TestTimesAndNumbersAreKeptWhereTheirColumnsTakeAllOfThem, such as those that GORM makes of
// time.Time and float64.
func TestTimesAndNumbersAreKeptWhereTheirColumnsTakeAllOfThem(t *testing.T) {
	t.Parallel()
	type thing struct {
		ID        int64
		Price     float64
		CreatedAt time.Time
	}
	dsn := pgtest.Database(t)
	mustExec(t, admin(t, dsn), "create schema tenant_a", "create table tenant_a.things (id bigserial, price decimal, created_at timestamptz)")
	db, _ := open(t, dsn, nil, plugin.BySchema(), plugin.WithMaxConns(1))
	a := db.WithContext(as(t, "a"))
	for range 10 {
		if err := a.Create(&thing{Price: 0.1}).Error; err != nil {
			t.Fatal(err)
		}
	}
	var texts []string
	for _, text := range kept(t, a) {
		if strings.HasPrefix(text, "INSERT") {
			texts = append(texts, text)
		}
	}
	if len(texts) != 1 {
		t.Errorf("the session keeps %q, want the one INSERT", texts)
	}
	var plans int64
	err := a.Raw("select generic_plans + custom_plans from pg_prepared_statements where statement like 'INSERT%'").Scan(&plans).Error
	if err != nil || plans < 7 {
		t.Errorf("it was planned %d times under its name, error %v; want 7 at least", plans, err)
	}
	var got string
	if err := a.Raw("select price::text || ' ' || (created_at > now() - interval '1 hour')::text from things order by id desc limit 1").Scan(&got).Error; err != nil || got != "0.1 true" {
		t.Errorf("wrote %q, error %v", got, err)
	}
}

// TestAKeptStatementReadsWhatANewOneReads: its results come in another format.
func TestAKeptStatementReadsWhatANewOneReads(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	mustExec(t, admin(t, dsn), "create schema tenant_a", "create type tenant_a.mood as enum ('well')",
		`create table tenant_a.t (id int, bo bool, by bytea, d date, f4 real, f8 float8, i2 smallint, i8 bigint, o oid, ts timestamp, tz timestamptz,
			n numeric, u uuid, j jsonb, v text, a int[], tt time, iv interval, m tenant_a.mood, ip inet)`,
		`insert into tenant_a.t values (1, true, '\x0001ff', '2026-05-04', 0.1, 1e-300, -7, 9007199254740993, 4294967295, '2026-05-04 03:02:01.000001', '0044-03-15 12:00:00+01 BC',
			1.50, '6f1ed002-ab5e-4d5a-8d6f-0c0b0f0e0d0c', '{"a": 1}', 'text', '{1,null}', '03:02:01', '1 day 00:00:01', 'well', '10.0.0.1/8')`, "insert into tenant_a.t values (2)")
	ours, _ := open(t, dsn, nil, plugin.BySchema(), plugin.WithMaxConns(1))
	read := func(db *gorm.DB) (rows []map[string]any) {
		t.Helper()
		if err := db.Raw("select * from t where id < ? order by id", 3).Scan(&rows).Error; err != nil || len(rows) != 2 {
			t.Fatalf("%d rows, error %v", len(rows), err)
		}
		return rows
	}
	a := ours.WithContext(as(t, "a"))
	want := read(openPlain(t, dsn+"&search_path=tenant_a", nil))
	for i := range 10 {
		if got := read(a); !reflect.DeepEqual(got, want) {
			t.Fatalf("execution %d: read\n%v\nwant what plain GORM reads\n%v", i+1, got, want)
		}
	}
	if n := count(kept(t, a), "select * from t where id < $1 order by id"); n != 1 {
		t.Errorf("it is kept %d times, want once", n)
	}
}

// TestAKeptStatementWhoseSchemaMayNotBeUsedSaysSo, also where it names no table of the tenant's.
func TestAKeptStatementWhoseSchemaMayNotBeUsedSaysSo(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ sql, want string }{
		"gone":     {"drop schema tenant_a cascade -- ", "run the migrator, which creates it"},
		"no right": {"revoke usage on schema tenant_a from ", "grant USAGE on schema"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := pgtest.Database(t)
			pool := admin(t, dsn)
			role := fmt.Sprintf("reader_%d", time.Now().UnixNano())
			mustExec(t, pool, "create schema tenant_a", "create table tenant_a.invoices (id int, title text)", "insert into tenant_a.invoices values (1, 'a')",
				"create role "+role, "grant usage on schema tenant_a to "+role, "grant select on tenant_a.invoices to "+role)
			t.Cleanup(func() { mustExec(t, pool, "drop owned by "+role, "drop role "+role) })
			db, _ := open(t, dsn, nil, placements(func(base *pgxpool.Pool) (plugin.Placement, error) {
				return plugin.Placement{Pool: base, Schema: "tenant_a", Settings: []plugin.Setting{{Name: "role", Value: role}, {Name: "search_path", Value: "tenant_a, pg_temp"}}}, nil
			}), plugin.WithMaxConns(1))
			a := db.WithContext(as(t, "a"))
			texts := []string{"select title from invoices where id = ?", "select amname from pg_catalog.pg_am where oid > ?"}
			for i := range 10 * len(texts) {
				if err := a.Raw(texts[i%len(texts)], 1).Scan(new(string)).Error; err != nil {
					t.Fatal(err)
				}
			}
			mustExec(t, pool, tt.sql+role)
			for i := range 3 * len(texts) {
				mustSay(t, a.Raw(texts[i%len(texts)], 1).Scan(new(string)).Error, tt.want)
			}
		})
	}
}

// TestWhatATextMeansUnderOtherSettingsIsNotKept for them.
func TestWhatATextMeansUnderOtherSettingsIsNotKept(t *testing.T) {
	t.Parallel()
	var zone string
	dsn := pgtest.Database(t)
	db, _ := open(t, dsn, nil, placements(func(base *pgxpool.Pool) (plugin.Placement, error) {
		return plugin.Placement{Pool: base, Settings: []plugin.Setting{{Name: "timezone", Value: zone}}}, nil
	}), plugin.WithMaxConns(1))
	wants := map[string]int64{"UTC": 1704067200, "Asia/Tokyo": 1704034800}
	for i := range 20 {
		zone = []string{"UTC", "Asia/Tokyo"}[i%2]
		var got int64
		if err := db.WithContext(as(t, "a")).Raw("select extract(epoch from timestamptz '2024-01-01 00:00:00')::bigint + ?", 0).Scan(&got).Error; err != nil || got != wants[zone] {
			t.Fatalf("in %s: %d, error %v", zone, got, err)
		}
	}
}
