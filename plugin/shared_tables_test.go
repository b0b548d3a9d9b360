package plugin_test

import (
	"errors"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// These tests show what docs/shared-tables.md says that PostgreSQL does by itself, and
// that the cures are ones.

// sharedTables returns a database in which a and b have what each of the statements makes.
func sharedTables(t *testing.T, statements ...string) (*gorm.DB, string) {
	t.Helper()
	dsn := pgtest.Database(t)
	pool := admin(t, dsn)
	mustExec(t, pool, "create table public.plans (id bigint primary key)", "insert into public.plans values (1)")
	for _, id := range []string{"a", "b"} {
		mustExec(t, pool, "create schema tenant_"+id)
		for _, sql := range statements {
			mustExec(t, pool, "set search_path = tenant_"+id+"; "+sql+"; reset search_path")
		}
	}
	db, _ := open(t, dsn, nil, plugin.BySchema(plugin.WithSharedSchemas("public")), plugin.WithMaxConns(1))
	return db, dsn
}

func names(t *testing.T, db *gorm.DB, id, sql string) (all []string) {
	t.Helper()
	if err := db.WithContext(as(t, id)).Raw(sql).Scan(&all).Error; err != nil {
		t.Fatal(err)
	}
	return all
}

func TestAForeignKeysActionFiresTriggersUnderAnotherTenantsPath(t *testing.T) {
	t.Parallel()
	const (
		audit = "create table audit (customer text)"
		log   = "create function log() returns trigger language plpgsql as $$ begin insert into audit values (old.name); return old; end $$"
		fires = "create trigger logged after delete on customers for each row execute function log()"
		fk    = "create table customers (name text, plan bigint references public.plans on delete cascade)"
	)
	for _, c := range []struct {
		name     string
		function string
		a, b     int // rows in their audit tables
	}{
		{"without a path of its own", log, 0, 2},
		{"with one", log + " set search_path from current", 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			db, _ := sharedTables(t, audit, fk, c.function, fires)
			for _, id := range []string{"a", "b"} {
				if err := db.WithContext(as(t, id)).Exec("insert into customers values (?, 1)", "customer of "+id).Error; err != nil {
					t.Fatal(err)
				}
			}
			if err := db.WithContext(as(t, "b")).Exec("delete from plans").Error; err != nil {
				t.Fatal(err)
			}
			a, b := names(t, db, "a", "select customer from audit"), names(t, db, "b", "select customer from audit")
			if len(a) != c.a || len(b) != c.b {
				t.Errorf("a's audit has %q, and b's %q", a, b)
			}
		})
	}
}

func TestNoActionRefusesToDeleteASharedRowThatATenantUses(t *testing.T) {
	t.Parallel()
	db, _ := sharedTables(t, "create table customers (name text, plan bigint references public.plans)")
	if err := db.WithContext(as(t, "a")).Exec("insert into customers values ('a', 1)").Error; err != nil {
		t.Fatal(err)
	}
	var pgErr *pgconn.PgError
	if err := db.WithContext(scope.Shared(t.Context())).Exec("delete from plans").Error; !errors.As(err, &pgErr) || pgErr.Code != "23503" {
		t.Errorf("got %v", err)
	}
}

func TestASharedFunctionKeepsTheTypesOfTheTenantThatCalledItFirst(t *testing.T) {
	t.Parallel()
	db, dsn := sharedTables(t, "create type status as enum ('open')", "create table tickets (state status)")
	mustExec(t, admin(t, dsn), "set check_function_bodies = off; create function public.enum() returns void language plpgsql as $$ declare s status := 'open'; begin insert into tickets values (s); end $$",
		"set check_function_bodies = off; create function public.cured() returns void language plpgsql as $$ declare s text := 'open'; begin execute format('insert into tickets values (%L)', s); end $$")
	call := func(id, f string) error { return db.WithContext(as(t, id)).Exec("select " + f + "()").Error }
	if err := errors.Join(call("a", "enum"), call("a", "cured"), call("b", "cured")); err != nil {
		t.Fatal(err)
	}
	var pgErr *pgconn.PgError
	if err := call("b", "enum"); !errors.As(err, &pgErr) || pgErr.Code != "42804" {
		t.Errorf("b's call of a function that is compiled for a: %v", err)
	}
	if n := len(names(t, db, "b", "select state from tickets")); n != 1 {
		t.Errorf("b has %d tickets", n)
	}
}

func TestASharedFunctionKeepsTheColumnsOfTheTenantThatCalledItFirst(t *testing.T) {
	t.Parallel()
	db, dsn := sharedTables(t)
	mustExec(t, admin(t, dsn),
		"create table tenant_a.people (name text, secret text)", "insert into tenant_a.people values ('name of a', 'secret of a')",
		"create table tenant_b.people (secret text, name text)", "insert into tenant_b.people values ('secret of b', 'name of b')")
	for f, declared := range map[string]string{"rows": "people%rowtype", "records": "record"} {
		mustExec(t, admin(t, dsn), "set check_function_bodies = off; create function public."+f+"() returns text language plpgsql as $$ declare r "+declared+"; begin select * into r from people; return r.name; end $$")
	}
	for _, c := range []struct{ id, f, want string }{
		{"a", "rows", "name of a"}, {"b", "rows", "secret of b"}, // a's columns
		{"a", "records", "name of a"}, {"b", "records", "name of b"},
	} {
		if got := names(t, db, c.id, "select "+c.f+"()"); got[0] != c.want {
			t.Errorf("%s as %s: got %q, want %q", c.f, c.id, got, c.want)
		}
	}
}

func TestLargeObjectsAreTheDatabases(t *testing.T) {
	t.Parallel()
	db, _ := sharedTables(t)
	names(t, db, "a", "select lo_from_bytea(42, 'of a')::text")
	if got := names(t, db, "b", "select convert_from(lo_get(42), 'utf8')"); got[0] != "of a" {
		t.Errorf("got %q", got)
	}
	names(t, db, "b", "select lo_unlink(42)::text")
}

func TestAnExtensionGoesIntoTheFirstSchemaAndIsDroppedWithIt(t *testing.T) {
	t.Parallel()
	db, dsn := sharedTables(t, "create table people (id bigint)")
	pool := admin(t, dsn)
	where := "select extnamespace::regnamespace::text from pg_extension where extname = 'citext'"
	if err := db.WithContext(as(t, "a")).Exec("create extension citext").Error; err != nil {
		t.Fatal(err)
	}
	if got := names(t, db, "a", where); got[0] != "tenant_a" {
		t.Fatalf("it is in %q", got)
	}
	var pgErr *pgconn.PgError
	if err := db.WithContext(as(t, "b")).Exec("alter table people add column mail citext").Error; !errors.As(err, &pgErr) || pgErr.Code != "42704" {
		t.Errorf("b finds it: %v", err)
	}
	// Moved to a shared schema it is found, and outlives the tenant.
	mustExec(t, pool, "alter table tenant_b.people add column mail tenant_a.citext", "alter extension citext set schema public")
	if err := db.WithContext(as(t, "b")).Exec("alter table people add column other citext").Error; err != nil {
		t.Error(err)
	}
	// Not moved, it takes b's columns along.
	mustExec(t, pool, "alter extension citext set schema tenant_a", "drop schema tenant_a cascade")
	if got := names(t, db, "b", "select attname::text from pg_attribute where attrelid = 'people'::regclass and attnum > 0 and not attisdropped"); len(got) != 1 {
		t.Errorf("b has the columns %q", got)
	}
}
