package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-gormigrate/gormigrate/v2"
	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
	"gorm.io/gorm/schema"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
	"github.com/tenantry/tenantry/tenanttest"
)

// made is what a list of migrations left behind.
type made struct {
	place  []string // tables at the place
	public []string // tables in public, where nobody asked for any
	err    error
}

// ways are all ways in which a place gets its tables.
var ways = map[string]func(*testing.T, migrator.Migrations) made{
	"sign-up with a schema":   signUpSchema,
	"sign-up with a database": signUpDatabase,
	"spare":                   makeSpare,
	"template":                makeTemplate,
	"tenanttest":              makeTestTenant,
	"fleet":                   migrateFleet,
}

// TestMigrationsFollowTheSameRulesEverywhere: what makes a place must not decide what a
// migration may do.
func TestMigrationsFollowTheSameRulesEverywhere(t *testing.T) {
	t.Parallel()
	for name, c := range ruleCases() {
		for way, run := range ways {
			t.Run(name+"/"+way, func(t *testing.T) {
				t.Parallel()
				got := run(t, c.list)
				if len(got.public) > 0 {
					t.Errorf("tables were made in public: %q", got.public)
				}
				if len(c.refused) > 0 {
					mustSay(t, got.err, c.refused...)
					if c.as != nil && !c.as(got.err) {
						t.Errorf("the error is %v", got.err)
					}
					if len(got.place) > 0 && !slices.Equal(got.place, c.tables) {
						t.Errorf("the tables %q are left", got.place)
					}
					return
				}
				if got.err != nil {
					t.Fatal(got.err)
				}
				if !slices.Equal(got.place, c.tables) {
					t.Errorf("got the tables %q, want %q", got.place, c.tables)
				}
			})
		}
	}
}

type ruleCase struct {
	list    migrator.Migrations
	tables  []string // wanted; of a refused list those that were committed before
	refused []string // words of the error; nil if the list is to succeed
	as      func(error) bool
}

// ruleCases are lists in which a migration between two others tries something.
func ruleCases() map[string]ruleCase {
	all := []string{"afters", "befores", "migrations", "raw"}
	between := func(second *gormigrate.Migration) migrator.Migrations {
		return migrator.Migrations{
			sqlMigration("1-before", "create table befores (id int)"), second, sqlMigration("3-raw", "create table raw (id int)"),
			{ID: "4-after", Migrate: func(tx *gorm.DB) error { return tx.AutoMigrate(&After{}) }},
		}
	}
	call := func(f func(*gorm.DB) error) migrator.Migrations {
		return between(&gormigrate.Migration{ID: "2-call", Migrate: f})
	}
	cases := map[string]ruleCase{}
	for name, sql := range map[string]string{
		"BEGIN and COMMIT": "begin; create table own (id int); commit", "COMMIT": "commit", "ROLLBACK": "rollback", "COMMIT in a script": "select 1; commit; select 2",
	} {
		cases[name] = ruleCase{list: between(sqlMigration("2-call", sql)), refused: []string{"2-call", "begins or ends"}}
		cases[name+" outside of a transaction"] = ruleCase{
			list: between(migrator.NoTransaction(sqlMigration("2-call", sql))), tables: []string{"befores", "migrations"}, refused: []string{"2-call", "begins or ends"},
		}
	}
	for name, sql := range map[string]string{
		"SET": "set search_path to public", "SET LOCAL": "set local search_path to public", "SET SCHEMA": "set schema 'public'",
		"set_config": "select set_config('search_path', 'public', false)", "local set_config": "select set_config('search_path', 'public', true)",
		"as pg_dump does": "select pg_catalog.set_config('search_path', '', false); set check_function_bodies = false; set lock_timeout = 0",
		"SET in DO":       "do $$ begin set search_path to public; end $$", "set_config in DO": "do $$ begin perform set_config('search_path', 'public', true); end $$",
		"RESET ALL": "reset all", "RESET": "reset search_path", "DISCARD of temporary tables": "discard temp",
	} {
		cases["moves the path: "+name] = ruleCase{list: between(sqlMigration("2-call", sql)), tables: all}
	}
	for _, sql := range []string{"set search_path to public", "reset all"} {
		list := between(sqlMigration("2-call", sql))
		cases["moves the path last: "+sql] = ruleCase{list: slices.Concat(list[:1], list[2:], list[1:2]), tables: all}
	}
	for name, sql := range map[string]string{"RESET ALL": "reset all; create table lost (id int)", "RESET": "reset search_path; create table lost (id int)"} {
		cases["makes a table behind "+name] = ruleCase{list: between(sqlMigration("2-call", sql)), refused: []string{"2-call", "3F000"}}
	}
	cases["no context"] = ruleCase{
		list: call(func(tx *gorm.DB) error {
			return tx.WithContext(context.Background()).Exec("create table lost (id int)").Error
		}),
		refused: []string{"2-call", "no tenant"}, as: func(err error) bool { return errors.Is(err, scope.ErrNone) },
	}
	isMismatch := func(err error) bool { var m *scope.MismatchError; return errors.As(err, &m) }
	cases["the shared scope"] = ruleCase{
		list: call(func(tx *gorm.DB) error {
			return tx.WithContext(scope.Shared(tx.Statement.Context)).Exec("create table lost (id int)").Error
		}),
		refused: []string{"2-call"}, as: isMismatch,
	}
	cases["another tenant"] = ruleCase{
		list: call(func(tx *gorm.DB) error {
			other, err := scope.Parse("other")
			return errors.Join(err, tx.WithContext(scope.With(tx.Statement.Context, other)).Exec("create table lost (id int)").Error)
		}),
		refused: []string{"2-call"}, as: isMismatch,
	}
	cases["Commit"] = ruleCase{list: call(func(tx *gorm.DB) error { return tx.Commit().Error }), refused: []string{"2-call", "the migrator's"}}
	cases["Rollback"] = ruleCase{list: call(func(tx *gorm.DB) error { return tx.Rollback().Error }), refused: []string{"2-call", "the migrator's"}}
	cases["Commit whose error is ignored"] = ruleCase{list: call(func(tx *gorm.DB) error { tx.Commit(); return nil }), tables: all}
	cases["Rollback whose error is ignored"] = ruleCase{list: call(func(tx *gorm.DB) error { tx.Rollback(); return nil }), tables: all}
	cases["a nested transaction"] = ruleCase{list: call(func(tx *gorm.DB) error {
		failed := tx.Transaction(func(tx *gorm.DB) error {
			return errors.Join(tx.Exec("create table lost (id int)").Error, errors.New("no"))
		})
		if failed == nil {
			return errors.New("it did not fail")
		}
		return tx.Transaction(func(tx *gorm.DB) error { return tx.Exec("alter table befores add column more int").Error })
	}), tables: all}
	cases["another connection of the pool"] = ruleCase{list: call(func(tx *gorm.DB) error {
		pool, err := tx.DB()
		if err != nil {
			return err
		}
		return pool.PingContext(tx.Statement.Context)
	}), tables: all}
	cases["a savepoint of the migration before"] = ruleCase{list: migrator.Migrations{
		{ID: "1-before", Migrate: func(tx *gorm.DB) error {
			return errors.Join(tx.SavePoint("mine").Error, tx.Exec("create table befores (id int)").Error)
		}},
		{ID: "2-call", Migrate: func(tx *gorm.DB) error { return tx.RollbackTo("mine").Error }},
	}, refused: []string{"2-call", "was ignored"}}
	cases["an error that is ignored"] = ruleCase{list: call(func(tx *gorm.DB) error { tx.Exec("select 1/0"); return nil }), refused: []string{"2-call", "was ignored"}}
	cases["an error that is ignored last"] = ruleCase{list: migrator.Migrations{{ID: "2-call", Migrate: func(tx *gorm.DB) error { tx.Exec("select 1/0"); return nil }}}, refused: []string{"2-call", "was ignored"}}
	cases["a transaction that is left open"] = ruleCase{list: between(migrator.NoTransaction(&gormigrate.Migration{ID: "2-call", Migrate: func(tx *gorm.DB) error {
		inner := tx.WithContext(context.WithoutCancel(tx.Statement.Context)).Begin()
		return errors.Join(inner.Error, inner.Exec("create table lost (id int)").Error)
	}})), tables: []string{"befores", "migrations"}, refused: []string{"2-call", "left open"}}
	cases["a transaction of its own"] = ruleCase{list: between(migrator.NoTransaction(&gormigrate.Migration{ID: "2-call", Migrate: func(tx *gorm.DB) error {
		return tx.Transaction(func(tx *gorm.DB) error { return tx.Exec("alter table befores add column more int").Error })
	}})), tables: all}
	cases["a panic"] = ruleCase{list: call(func(*gorm.DB) error { panic("boom") }), refused: []string{"boom"}}
	cases["a new value of an enum"] = ruleCase{list: migrator.Migrations{
		sqlMigration("1", "create type mood as enum ('sad')", "create table befores (mood mood)"),
		migrator.NoTransaction(sqlMigration("2", "alter type mood add value 'happy'")),
		sqlMigration("3", "insert into befores values ('happy')"),
	}, tables: []string{"befores", "migrations"}}
	cases["a new value of an enum last"] = ruleCase{list: migrator.Migrations{
		sqlMigration("1", "create type mood as enum ('sad')", "create table befores (mood mood)"),
		migrator.NoTransaction(sqlMigration("2", "alter type mood add value 'happy'")),
	}, tables: []string{"befores", "migrations"}}
	cases["an index made concurrently"] = ruleCase{list: between(migrator.NoTransaction(sqlMigration("2", "create index concurrently on befores (id)"))), tables: all}
	cases["the path moved outside of a transaction"] = ruleCase{list: between(migrator.NoTransaction(sqlMigration("2", "set search_path to public"))), tables: all}
	return cases
}

// After is a table that GORM makes.
type After struct{ ID int64 }

// sqlMigration is a migration of texts.
func sqlMigration(id string, texts ...string) *gormigrate.Migration {
	return &gormigrate.Migration{ID: id, Migrate: func(tx *gorm.DB) error {
		for _, sql := range texts {
			if err := tx.Exec(sql).Error; err != nil {
				return err
			}
		}
		return nil
	}}
}

// tablesOf lists the tables of a schema.
func tablesOf(t testing.TB, dsn, schema string) []string {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	return one[[]string](t, pool, "select coalesce(array_agg(tablename::text order by tablename), '{}') from pg_tables where schemaname = $1", schema)
}

func signUpSchema(t *testing.T, list migrator.Migrations) made {
	t.Helper()
	c, _, master := service(t, catalog.WithMigrations(list))
	tenant, err := c.Create(t.Context(), catalog.New{ID: "acme"})
	got := made{err: err, public: tablesOf(t, master, "public")}
	if err == nil {
		got.place = tablesOf(t, master, tenant.Schema)
	} else if left := one[int](t, admin(t, master), "select count(*)::int from pg_namespace where nspname like 't\\_%'"); left > 0 {
		t.Errorf("%d schemas are left of a sign-up that failed", left)
	}
	return got
}

func signUpDatabase(t *testing.T, list migrator.Migrations) made {
	t.Helper()
	c, _, master := service(t, catalog.WithMigrations(list), catalog.WithoutTemplates())
	tenant, err := c.Create(t.Context(), catalog.New{ID: unique("acme"), Kind: catalog.OwnDatabase})
	return made{err: err, public: tablesOf(t, master, "public"), place: tablesOfTenant(t, master, tenant, err)}
}

// tablesOfTenant lists the tables of a tenant with a database, if it was made.
func tablesOfTenant(t *testing.T, master string, tenant catalog.Tenant, err error) []string {
	t.Helper()
	if err != nil {
		return nil
	}
	return tablesOf(t, inDatabase(t, master, tenant.Database), "public")
}

// firstError keeps the first error that is logged.
type firstError struct {
	slog.Handler

	mu  sync.Mutex // guards err
	err error
}

func (f *firstError) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		if err, ok := a.Value.Any().(error); ok && f.err == nil {
			f.err = fmt.Errorf("%s: %w", r.Message, err)
		}
		return true
	})
	return nil
}

func (f *firstError) get() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

func makeSpare(t *testing.T, list migrator.Migrations) made {
	t.Helper()
	log := &firstError{Handler: slog.DiscardHandler}
	c, _, master := service(t, catalog.WithMigrations(withoutTenant(t, list)), catalog.WithSpares(catalog.OwnSchema, 1), catalog.WithLogger(slog.New(enabled{log})))
	eventually(t, "a spare is made, or fails", func() bool { return log.get() != nil || serversNamed(t, c)[catalog.Main].Spares == 1 })
	got := made{err: log.get(), public: tablesOf(t, master, "public")}
	if got.err == nil {
		tenant := create(t, c, catalog.New{ID: "acme"})
		mustBeSpare(t, tenant)
		got.place = tablesOf(t, master, tenant.Schema)
	}
	return got
}

// enabled logs everything.
type enabled struct{ *firstError }

func (enabled) Enabled(context.Context, slog.Level) bool { return true }

func makeTemplate(t *testing.T, list migrator.Migrations) made {
	t.Helper()
	log := &firstError{Handler: slog.DiscardHandler}
	c, _, master := service(t, catalog.WithMigrations(list), catalog.WithLogger(slog.New(enabled{log})))
	tenant, err := c.Create(t.Context(), catalog.New{ID: unique("acme"), Kind: catalog.OwnDatabase})
	if failed := log.get(); (failed == nil) != (err == nil) || failed != nil && !strings.Contains(failed.Error(), "template") {
		t.Errorf("the template failed with %v, and the sign-up behind it with %v", failed, err)
	}
	return made{err: log.get(), public: tablesOf(t, master, "public"), place: tablesOfTenant(t, master, tenant, err)}
}

// withoutTenant checks that migrations see no tenant.
func withoutTenant(t *testing.T, list migrator.Migrations) migrator.Migrations {
	t.Helper()
	checked := slices.Clone(list)
	first := *list[0]
	first.Migrate = func(tx *gorm.DB) error {
		if tenant, err := scope.From(tx.Statement.Context); !errors.Is(err, scope.ErrNone) {
			t.Errorf("a migration of a spare sees %q, %v", tenant, err)
		}
		return list[0].Migrate(tx)
	}
	checked[0] = &first
	return checked
}

// bySchema opens GORM with a schema for each tenant, and no catalog.
func bySchema(t *testing.T) (*gorm.DB, string) {
	t.Helper()
	master := pgtest.Database(t)
	db, err := gorm.Open(postgres.Open(master), &gorm.Config{Logger: logger.Discard})
	if err != nil {
		t.Fatal(err)
	}
	p := plugin.New(plugin.BySchema())
	if err := db.Use(p); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return db, master
}

func makeTestTenant(t *testing.T, list migrator.Migrations) made {
	t.Helper()
	db, master := bySchema(t)
	f, err := tenanttest.New(db, list)
	got := made{err: err, public: tablesOf(t, master, "public")}
	if err != nil {
		return got
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	tenant, err := scope.From(f.Tenant(t))
	if err != nil {
		t.Fatal(err)
	}
	got.place = tablesOf(t, master, "tenant_"+tenant.String())
	return got
}

func migrateFleet(t *testing.T, list migrator.Migrations) made {
	t.Helper()
	db, master := bySchema(t)
	m := migrator.New(db, migrator.List{parse(t, "acme")}, list, migrator.WithLogger(slog.New(slog.DiscardHandler)))
	_, err := m.Run(t.Context())
	got := made{err: err, place: tablesOf(t, master, "tenant_acme"), public: tablesOf(t, master, "public")}
	if err != nil {
		return got
	}
	if again, err := m.Run(t.Context()); err != nil || len(again.Results) > 0 && len(again.Results[0].Applied) > 0 {
		t.Errorf("another run did %+v, %v", again.Results, err)
	}
	return got
}

// TestNewTenantsGetTheTablesOfTheFleet also with another naming strategy than GORM's.
func TestNewTenantsGetTheTablesOfTheFleet(t *testing.T) {
	t.Parallel()
	cfg := &gorm.Config{PrepareStmt: true, NamingStrategy: schema.NamingStrategy{SingularTable: true, TablePrefix: "my_"}}
	c, _, master := service(t, catalog.WithGORMConfig(cfg))
	first := create(t, c, catalog.New{ID: "first"})
	later := append(migrations(), &gormigrate.Migration{ID: "2", Migrate: func(tx *gorm.DB) error { return tx.AutoMigrate(&After{}) }})
	db := use(t, master, c, cfg)
	if _, err := migrator.New(db, c, later).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := create(t, open(t, master, catalog.WithGORMConfig(cfg), catalog.WithMigrations(later), catalog.WithKeys(catalog.FixedKeys{testKey(t, "k2")})), catalog.New{ID: "second"})
	for _, tenant := range []catalog.Tenant{first, second} {
		if got := tablesOf(t, master, tenant.Schema); !slices.Equal(got, []string{"migrations", "my_after", "my_invoice"}) {
			t.Errorf("%s has the tables %q", tenant.ID, got)
		}
	}
}
