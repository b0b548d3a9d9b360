package tenanttest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-gormigrate/gormigrate/v2"
	"github.com/jackc/pgx/v5"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
	"github.com/tenantry/tenantry/tenanttest"
)

type invoice struct {
	ID     int64
	Number int64 `gorm:"default:nextval('numbers')"`
	Title  string
}

func (invoice) TableName() string { return "invoices" }

// migrations make what a test could leave something in.
func migrations() migrator.Migrations {
	return migrator.Migrations{
		script("0001", "create sequence numbers", "select setval('numbers', 1000)",
			"create type state as enum ('open', 'paid')",
			"create table plans (name text primary key)", "insert into plans values ('free'), ('own')"),
		script("0002", "create table invoices (id bigserial primary key, number bigint not null default nextval('numbers'), title text, state state default 'open')",
			"create table lines (id bigserial primary key, invoice_id bigint references invoices, plan text references plans, body text)",
			"create materialized view totals as select count(*) as n from invoices",
			"create unique index on totals (n)",
			"alter sequence lines_id_seq restart with 500"),
		script("0003", "create domain amount as int", "create function one() returns int language sql return 1",
			"create view open as select id from invoices", "create rule r as on insert to open do instead nothing"),
	}
}

func script(id string, statements ...string) *gormigrate.Migration {
	return &gormigrate.Migration{ID: id, Migrate: func(tx *gorm.DB) error {
		for _, sql := range statements {
			if err := tx.Exec(sql).Error; err != nil {
				return err
			}
		}
		return nil
	}}
}

func open(t testing.TB, dsn string, strategy plugin.Strategy) *gorm.DB {
	t.Helper()
	db, err := gorm.Open(postgres.Open(dsn), &gorm.Config{Logger: logger.Discard})
	if err != nil {
		t.Fatal(err)
	}
	p := plugin.New(strategy)
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

// factory returns a factory on a database of its own.
func factory(t testing.TB) (*tenanttest.Factory, *gorm.DB, string) {
	t.Helper()
	dsn := pgtest.Database(t)
	db := open(t, dsn, plugin.BySchema())
	f, err := tenanttest.New(db, migrations())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if left := schemas(t, dsn); len(left) > 0 {
			t.Errorf("Close left %q", left)
		}
	})
	return f, db, dsn
}

// ask asks PostgreSQL past the plugin.
func ask[T any](t testing.TB, dsn, sql string, args ...any) []T {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	rows, _ := conn.Query(context.Background(), sql, args...)
	all, err := pgx.CollectRows(rows, pgx.RowTo[T])
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// schemas returns the schemas that are not PostgreSQL's.
func schemas(t testing.TB, dsn string) []string {
	t.Helper()
	return ask[string](t, dsn, "select nspname from pg_namespace where nspname !~ '^(pg_|information_schema|public$)' order by 1")
}

// one is a test in a test: it ends when end is called.
type one struct {
	testing.TB
	failed   bool
	cleanups []func()
	errors   []string
	logs     []string
}

func (o *one) Cleanup(f func())           { o.cleanups = append(o.cleanups, f) }
func (o *one) Failed() bool               { return o.failed }
func (o *one) Error(args ...any)          { o.errors = append(o.errors, fmt.Sprint(args...)) }
func (o *one) Logf(f string, args ...any) { o.logs = append(o.logs, fmt.Sprintf(f, args...)) }
func (o *one) Helper()                    {}
func begin(t testing.TB) *one             { return &one{TB: t} }
func (o *one) end() {
	for _, f := range slices.Backward(o.cleanups) {
		f()
	}
}

func mustExec(t testing.TB, db *gorm.DB, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		if err := db.Exec(sql).Error; err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

// mustBeFresh looks at all that a test before could have left.
func mustBeFresh(t testing.TB, db *gorm.DB) {
	t.Helper()
	var got string
	err := db.Raw(`select concat_ws(' ', (select count(*) from invoices), (select count(*) from lines), (select string_agg(name, '+' order by name) from plans),
		(select n from totals), (select string_agg(id, '+' order by id) from migrations), nextval('numbers'), nextval('invoices_id_seq'), nextval('lines_id_seq'),
		enum_range(null::state), (select count(*) from pg_class where relnamespace = current_schema()::regnamespace),
		(select count(*) from pg_attribute where attrelid = 'invoices'::regclass), (select count(*) from pg_proc where pronamespace = current_schema()::regnamespace))`).Scan(&got).Error
	if err != nil {
		t.Fatal(err)
	}
	if want := "0 0 free+own 0 0001+0002+0003 1001 1 500 {open,paid}"; !strings.HasPrefix(got, want) || !strings.HasSuffix(got, " 10 1") {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestEachTenantIsAsTheMigrationsLeftIt(t *testing.T) {
	t.Parallel()
	dirt := map[string]struct {
		sql   []string
		again bool // the schema serves another test
	}{
		"nothing":                     {nil, true},
		"rows":                        {[]string{"insert into invoices (number) values (nextval('numbers'))", "insert into lines (invoice_id, plan) values (1, 'own')"}, true},
		"rows that are gone":          {[]string{"insert into invoices (number) values (7)", "delete from invoices"}, true},
		"a sequence alone":            {[]string{"select nextval('numbers')"}, true},
		"a sequence that is set":      {[]string{"select setval('lines_id_seq', 3, false)"}, true},
		"a seed changed":              {[]string{"update plans set name = 'big' where name = 'own'"}, false},
		"a seed deleted":              {[]string{"delete from plans"}, false},
		"a seed changed and back":     {[]string{"delete from plans where name = 'own'", "insert into plans values ('own')"}, false},
		"a migration recorded":        {[]string{"insert into migrations values ('0004')"}, false},
		"a column":                    {[]string{"alter table invoices add column x text"}, false},
		"a column's default":          {[]string{"alter table invoices alter column title set default 'x'"}, false},
		"another default":             {[]string{"alter table invoices alter column state set default 'paid'"}, false},
		"a domain":                    {[]string{"alter domain amount set not null"}, false},
		"an order":                    {[]string{"alter table invoices cluster on invoices_pkey"}, false},
		"a rule replaced":             {[]string{"create or replace rule r as on insert to open do also nothing"}, false},
		"a name of a constraint":      {[]string{"alter table lines rename constraint lines_plan_fkey to other"}, false},
		"a function altered":          {[]string{"alter function one() strict"}, false},
		"an inheritance":              {[]string{"create table child () inherits (invoices)", "alter table child no inherit invoices", "drop table child"}, false},
		"a sequence's cache":          {[]string{"alter sequence numbers cache 5"}, false},
		"a trigger disabled":          {[]string{"alter table lines disable trigger all"}, false},
		"a table":                     {[]string{"create table other (id int)"}, false},
		"a table dropped":             {[]string{"drop table lines"}, false},
		"an index dropped":            {[]string{"drop index totals_n_idx"}, false},
		"a constraint":                {[]string{"alter table invoices add check (title <> '')"}, false},
		"an enum value":               {[]string{"alter type state add value 'void'"}, false},
		"a function":                  {[]string{"create function f() returns int language sql return 1"}, false},
		"a trigger":                   {[]string{"create trigger t before update on invoices for each row execute function suppress_redundant_updates_trigger()"}, false},
		"a policy":                    {[]string{"create policy p on invoices"}, false},
		"a rule":                      {[]string{"create rule r as on delete to invoices do instead nothing"}, false},
		"a view":                      {[]string{"create view v as select 1"}, false},
		"a collation":                 {[]string{`create collation c from "C"`}, false},
		"a sequence's increment":      {[]string{"alter sequence numbers increment 5"}, false},
		"a sequence restarted":        {[]string{"alter sequence invoices_id_seq restart with 7"}, false},
		"a right":                     {[]string{"grant select on invoices to public"}, false},
		"a view refreshed":            {[]string{"insert into invoices (number) values (1)", "refresh materialized view totals"}, false},
		"a view refreshed row by row": {[]string{"insert into invoices (number) values (1)", "refresh materialized view concurrently totals"}, false},
	}
	f, db, dsn := factory(t)
	for name, d := range dirt {
		test := begin(t)
		ctx := f.Tenant(test)
		mustBeFresh(t, db.WithContext(ctx))
		test.end()

		test = begin(t)
		mustExec(t, db.WithContext(f.Tenant(test)), d.sql...)
		oid := ask[uint32](t, dsn, "select oid from pg_namespace where nspname ~ '^tenant_'")
		test.end()
		left := ask[uint32](t, dsn, "select oid from pg_namespace where nspname ~ '^tenanttest_'")
		if d.again != slices.Equal(oid, left) {
			t.Errorf("%s: the test had schema %d, and left %d; %v", name, oid, left, test.logs)
		}
		if len(test.errors) > 0 || len(test.logs) == 0 != d.again {
			t.Errorf("%s: errors %q, logs %q", name, test.errors, test.logs)
		}
		next := begin(t)
		mustBeFresh(t, db.WithContext(f.Tenant(next)))
		next.end()
	}
}

// TestSchemasThatServeOneTestOnly has migrations that make what a session keeps, or what
// is wrong under another name of the schema.
func TestSchemasThatServeOneTestOnly(t *testing.T) {
	t.Parallel()
	for words, sql := range map[string]string{
		`sequence "s" has a cache`:    "create sequence s cache 20",
		`function "f" has the schema`: "create function f() returns bigint language sql set search_path from current as 'select count(*) from later'",
		`function "g" has the schema`: "do $$ begin execute format('create function g() returns text language sql as %L', format('select %L::text', current_schema)); end $$",
		`table "o" is a foreign one`:  "create foreign table o (id int) server s",
	} {
		dsn := pgtest.Database(t)
		db := open(t, dsn, plugin.BySchema())
		ask[string](t, dsn, "create foreign data wrapper w") // these are in no schema
		ask[string](t, dsn, "create server s foreign data wrapper w")
		f, err := tenanttest.New(db, migrator.Migrations{script("0001", "create table later (id int)", sql)})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			test := begin(t)
			mustExec(t, db.WithContext(f.Tenant(test)), "insert into later values (1)")
			test.end()
			if len(test.logs) != 1 || !strings.Contains(test.logs[0], words) {
				t.Errorf("%s: logs %q", words, test.logs)
			}
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestASecondTenantSeesNothing(t *testing.T) {
	t.Parallel()
	f, db, _ := factory(t)
	a, b := f.Tenant(t), f.Tenant(t)
	if err := db.WithContext(a).Create(&invoice{Title: "a's"}).Error; err != nil {
		t.Fatal(err)
	}
	var seen []invoice
	if err := db.WithContext(b).Find(&seen).Error; err != nil || len(seen) > 0 {
		t.Errorf("saw %v, %v", seen, err)
	}
	if err := db.WithContext(t.Context()).Find(&seen).Error; !errors.Is(err, scope.ErrNone) {
		t.Errorf("no scope: %v", err)
	}
}

func TestTheTenantGoesWithItsTest(t *testing.T) {
	t.Parallel()
	f, db, _ := factory(t)
	test := begin(t)
	ctx := f.Tenant(test)
	test.end()
	next := f.Tenant(t) // has the schema by now
	err := db.WithContext(ctx).Create(&invoice{Title: "late"}).Error
	if err == nil || !strings.Contains(err.Error(), "3F000") {
		t.Errorf("a late writer got %v", err)
	}
	mustBeFresh(t, db.WithContext(next))
}

func TestAFailedTestLeavesNoSchema(t *testing.T) {
	t.Parallel()
	f, _, dsn := factory(t)
	first, second := begin(t), begin(t)
	f.Tenant(first)
	f.Tenant(second)
	first.end()
	second.failed = true
	second.end()
	if left := schemas(t, dsn); len(left) > 0 || len(second.errors) > 0 {
		t.Errorf("left %q, errors %q", left, second.errors)
	}
}

func TestAnOpenTransactionFailsItsTest(t *testing.T) {
	t.Parallel()
	f, db, _ := factory(t)
	test := begin(t)
	tx := db.WithContext(context.WithoutCancel(f.Tenant(test))).Begin()
	mustExec(t, tx, "insert into invoices (number) values (1)")
	test.end()
	if len(test.errors) != 1 || !strings.Contains(test.errors[0], "still open") {
		t.Errorf("errors %q", test.errors)
	}
	if err := tx.Rollback().Error; err != nil {
		t.Error(err)
	}
}

// TestManyAtOnce has two factories, as two processes have, and twenty goroutines on each.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	first, db, dsn := factory(t)
	second, err := tenanttest.New(db, migrations())
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for _, f := range []*tenanttest.Factory{first, second} {
		for range 20 {
			wg.Go(func() {
				for n := range 5 {
					test := begin(t)
					ctx := f.Tenant(test)
					tenant := db.WithContext(ctx)
					err := tenant.Create(&invoice{Title: "mine"}).Error
					var all []invoice
					err = errors.Join(err, tenant.Find(&all).Error)
					if err != nil || len(all) != 1 || all[0].ID != 1 || all[0].Number != 1001 {
						t.Errorf("round %d: %v, %v", n, all, err)
					}
					test.end()
					if len(test.errors)+len(test.logs) > 0 {
						t.Errorf("round %d: errors %q, logs %q", n, test.errors, test.logs)
					}
				}
			})
		}
	}
	wg.Wait()
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if n := len(schemas(t, dsn)); n == 0 || n > 20 {
		t.Errorf("%d schemas of 20 goroutines", n)
	}
}

func TestNewSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	plain, err := gorm.Open(postgres.Open(dsn), &gorm.Config{Logger: logger.Discard})
	if err != nil {
		t.Fatal(err)
	}
	pool, err := plain.DB()
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	bySchema := open(t, dsn, plugin.BySchema())
	byDatabase := open(t, dsn, plugin.ByDatabase(func(context.Context, scope.Tenant) (plugin.Database, error) { return plugin.Database{Server: dsn}, nil }))
	for name, c := range map[string]struct {
		db         *gorm.DB
		migrations migrator.Migrations
		words      string
	}{
		"nil":               {nil, migrations(), "is nil"},
		"no plugin":         {plain, migrations(), "plugin is not registered"},
		"databases":         {byDatabase, migrations(), "use plugin.BySchema"},
		"no migrations":     {bySchema, nil, "there are no migrations"},
		"a wrong migration": {bySchema, migrator.Migrations{script("0001", "create nonsense")}, `migration "0001"`},
	} {
		f, err := tenanttest.New(c.db, c.migrations)
		if err == nil || f != nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: got %v, %v", name, f, err)
		}
	}
	if left := schemas(t, dsn); len(left) > 0 {
		t.Errorf("left %q", left)
	}
}
