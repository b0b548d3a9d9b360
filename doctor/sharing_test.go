package doctor_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/doctor"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
)

// sharing is a service with roles, in whose database acme and initech have schemas beside the shared
// schema public, while globex has a database of its own.
func sharing(t *testing.T) *system {
	t.Helper()
	s := bare(t, pgtest.DSN(t))
	s.create(t, catalog.New{ID: "acme"})
	s.create(t, catalog.New{ID: "initech"})
	s.create(t, catalog.New{ID: "globex", Kind: catalog.OwnDatabase})
	s.plant(t, "create table public.plans (id bigint primary key)")
	return s
}

// inEach runs statements in both schemas.
func (s *system) inEach(t *testing.T, statements ...string) {
	t.Helper()
	for _, id := range []string{"acme", "initech"} {
		s.plant(t, "set search_path = "+s.tenant(t, id).Schema+"; "+strings.Join(statements, "; "))
	}
}

// inDatabase runs statements in globex's database.
func (s *system) inDatabase(t *testing.T, statements ...string) {
	t.Helper()
	cfg, err := pgx.ParseConfig(s.admin)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Database = s.tenant(t, "globex").Database
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for _, sql := range statements {
		if _, err := conn.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

const (
	auditing   = "create table audit (customer bigint); create function log() returns trigger language plpgsql as $$ begin insert into audit values (old.id); return old; end $$"
	ownPath    = "alter function log() set search_path from current"
	subscribed = "create table customers (id bigint primary key, plan bigint default 1 constraint fk references public.plans %s)"
	logged     = "create trigger logged after %s on customers for each %s execute function log()"
)

func TestATriggerThatOtherTenantsFireIsFound(t *testing.T) {
	t.Parallel()
	s := sharing(t)
	for _, c := range []struct {
		actions, event, each string
		found                bool
	}{
		{"on delete cascade", "delete", "row", true},
		{"on delete cascade", "insert or delete", "statement", true},
		{"on delete set null", "update", "row", true},
		{"on delete set default", "update", "row", true},
		{"on update cascade", "update", "row", true},
		{"on update set null", "update of plan", "row", true},
		{"on update set default", "update", "row", true},
		{"on delete cascade", "update", "row", false},
		{"on delete set null", "delete", "row", false},
		{"on delete cascade", "insert", "row", false},
		{"", "delete or update", "row", false},
		{"on delete restrict on update no action", "delete or update", "row", false},
	} {
		t.Run(c.actions+" "+c.event, func(t *testing.T) {
			s.inEach(t, auditing, fmt.Sprintf(subscribed, c.actions), fmt.Sprintf(logged, c.event, c.each))
			defer s.inEach(t, "drop table customers, audit", "drop function log()")
			if !c.found {
				mustHaveNone(t, s)
				return
			}
			mustSay(t, s.mustFind(t, []string{"foreign-trigger"}), doctor.Warning, "logged on customers (function log, 2 tenants)", "set search_path from current", "NO ACTION")
			s.inEach(t, ownPath)
			mustHaveNone(t, s)
		})
	}
}

func TestATriggerBehindAnotherTableThatOtherTenantsFireIsFound(t *testing.T) {
	t.Parallel()
	s := sharing(t)
	s.inEach(t, auditing, fmt.Sprintf(subscribed, "on delete cascade"),
		"create table orders (id bigint, customer bigint references customers on delete cascade)",
		"create trigger logged after delete on orders for each row execute function log()")
	mustSay(t, s.mustFind(t, []string{"foreign-trigger"}), doctor.Warning, "logged on orders (function log, 2 tenants)")
	s.inEach(t, "alter table customers drop constraint fk, add constraint fk foreign key (plan) references public.plans on update cascade")
	mustHaveNone(t, s) // the key of customers is not what changes
}

func TestTriggersThatNobodyElseFiresAreInOrder(t *testing.T) {
	t.Parallel()
	s := sharing(t)
	s.inEach(t, auditing, "create table own_plans (id bigint primary key)",
		fmt.Sprintf(strings.Replace(subscribed, "public.plans", "own_plans", 1), "on delete cascade"), fmt.Sprintf(logged, "delete", "row"))
	s.inDatabase(t, "create table public.plans (id bigint primary key)", auditing, fmt.Sprintf(subscribed, "on delete cascade"), fmt.Sprintf(logged, "delete", "row"))
	mustHaveNone(t, s)
}

func TestASharedFunctionWithVariablesOfTenantsTypesIsFound(t *testing.T) {
	t.Parallel()
	const body = "create function public.f() returns void language plpgsql %s as $f$ declare %s begin null; end $f$"
	s := sharing(t)
	s.inEach(t, "create type status as enum ('open')")
	s.inDatabase(t, "create table only_here (id bigint)")
	for _, c := range []struct{ declared, want string }{
		{"r invoices%rowtype;", "invoices"},
		{"r Invoices;", "invoices"},
		{"i int := 1; /* r */ t constant invoices.title%TYPE := 'x'; -- t", "invoices"},
		{"s \"status\" not null default 'open';", "status"},
		{"s status[];", "status"},
		{"r record; t text := 'x status;';", ""},
		{"r public.plans%rowtype; i public.plans.id%type; j i%type;", ""},
		{"i int; -- r invoices%rowtype;\n", ""},
		{"r only_here;", ""},
	} {
		t.Run(c.declared, func(t *testing.T) {
			defer s.plant(t, "drop function if exists public.f()")
			// As a dump is restored: what the body names may be missing when it is made.
			s.plant(t, "set check_function_bodies = off; "+fmt.Sprintf(body, "", c.declared))
			if c.want == "" {
				mustHaveNone(t, s)
				return
			}
			mustSay(t, s.mustFind(t, []string{"shared-routine"}), doctor.Problem, "public.f ("+c.want+")", "record", "EXECUTE", "each tenant's schema")
			s.plant(t, "drop function public.f()", "set check_function_bodies = off; "+fmt.Sprintf(body, "set search_path = ''", c.declared))
			mustHaveNone(t, s)
			s.plant(t, "drop function public.f()")
			s.inEach(t, "set check_function_bodies = off", strings.Replace(fmt.Sprintf(body, "", c.declared), "public.", "", 1))
			mustHaveNone(t, s)
			s.inEach(t, "drop function f()")
		})
	}
}

func TestDeclaredTypes(t *testing.T) {
	t.Parallel()
	for source, want := range map[string][]string{
		"":        nil,
		"declare": nil,
		"begin declare a x; b y.z; begin declare c w%rowtype; begin end; end; end": {"x", "w"},
		"DECLARE a\nCONSTANT \"X\" := 1; BEGIN perform 'declare b y;'; END":        {"X"},
		"<<l>> declare begin null; end":                                            nil,
		"declare a t.c%type; b s.t.c%type; d a%type; begin end":                    {"t"},
	} {
		if got := doctor.DeclaredTypes(source); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", source, got, want)
		}
	}
}

func TestLargeObjectsOfSeveralTenantsAreFound(t *testing.T) {
	t.Parallel()
	s := sharing(t)
	s.inDatabase(t, "select lo_create(42)")
	mustHaveNone(t, s)
	s.plant(t, "select lo_create(42)")
	mustSay(t, s.mustFind(t, []string{"large-objects"}), doctor.Warning, "1 large object.", "bytea", "lo_compat_privileges")
	s.plant(t, "select count(lo_create(0)) from generate_series(1, 1200)")
	mustSay(t, s.mustFind(t, []string{"large-objects"}), doctor.Warning, "at least 1000 large objects.")
	s.plant(t, "select count(lo_unlink(oid)) from pg_largeobject_metadata")
	mustHaveNone(t, s)
	alone := withCatalog(t, pgtest.DSN(t)) // one tenant has a schema
	alone.plant(t, "select lo_create(42)")
	mustHaveNone(t, alone)
	alone.plant(t, "select lo_unlink(42)")
}

func TestAnExtensionInATenantsSchemaIsFound(t *testing.T) {
	t.Parallel()
	s := sharing(t)
	schema := s.tenant(t, "acme").Schema
	s.inDatabase(t, "create extension citext schema public")
	s.plant(t, "create extension hstore schema public")
	mustHaveNone(t, s)
	s.plant(t, "create extension citext schema "+schema)
	mustSay(t, s.mustFind(t, []string{"tenant-extension"}), doctor.Problem, "citext in "+schema+".", "alter extension", "create extension if not exists")
	s.plant(t, "alter extension citext set schema public")
	mustHaveNone(t, s)
}
