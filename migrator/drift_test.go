package migrator_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-gormigrate/gormigrate/v2"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// driftScript makes one of every kind of object, with names of other objects
// wherever there can be one.
const driftScript = `
create type mood as enum ('sad', 'ok', 'it''s fine');
create domain money_amount as numeric(12, 2) default 0 not null constraint positive check (value >= 0);
create type level as enum ('low', 'high');
create type address as (street text, city varchar(80) collate "C", mood mood);
create type span as range (subtype = timestamptz);
create sequence numbers as integer increment 5 minvalue 10 maxvalue 1000 cycle;
create function next_number() returns bigint language sql volatile set search_path from current as 'select nextval(''numbers'')';
create function shout(what text, times integer default 2) returns text language plpgsql immutable strict as $f$ begin return repeat(upper(what), times); end $f$;
create procedure clean_up() language sql as 'select 1';
create aggregate product (numeric) (sfunc = numeric_mul, stype = numeric, initcond = '1');

create table customers (
	id bigint generated always as identity (increment 3),
	name text collate "C" not null,
	mood mood default 'ok',
	moods mood[] not null default array['sad'::mood],
	address address,
	active span,
	number bigint default next_number(),
	loud text generated always as (shout(name)) stored,
	primary key (id),
	constraint "Name is not empty" check (name <> '')
);
create table invoices (
	id bigserial primary key,
	customer bigint references customers on delete cascade deferrable,
	total money_amount,
	title varchar(100),
	constraint invoices_title_key unique (title) include (total)
);
alter table invoices add constraint fresh check (shout(title) is not null) not valid;
create index invoices_customer_idx on invoices (customer, lower(title) desc) where total > 0;
create index invoices_shout_idx on invoices (shout(title));
create unlogged table "Weird ""Name" ("a.b" int, "select" text) with (fillfactor = 70);
create table notes (id varchar(255) primary key);
create table events (at timestamptz not null, mood mood) partition by range (at);
create table events_2024 partition of events for values from ('2024-01-01 00:00:00+00') to ('2025-01-01 00:00:00+00');
create index events_at_idx on only events (at);
create index events_2024_at_idx on events_2024 (at);
alter index events_at_idx attach partition events_2024_at_idx;
create table archive () inherits (invoices);

create view open_invoices with (security_barrier) as select i.*, c.name, shout(c.name) as loud from invoices i join customers c on c.id = i.customer where c.mood > 'sad'::mood;
create materialized view totals as select customer, sum(total) as total from invoices group by 1;
create unique index totals_customer_idx on totals (customer);

create function touch() returns trigger language plpgsql as $f$ begin new.title := shout(new.title); return new; end $f$;
create trigger touch before insert or update of title on invoices for each row when (new.title <> shout('x')) execute function touch();
create constraint trigger late after insert on invoices deferrable for each row execute function touch();
create rule no_deletes as on delete to customers do instead update customers set mood = 'sad' where id = old.id;
alter table customers enable row level security;
create policy mine on customers for select using (name = shout('me') and mood <> 'sad'::mood);
`

// driftMake runs a script in a schema that it makes.
func driftMake(t testing.TB, pool *pgxpool.Pool, schema string, scripts ...string) {
	t.Helper()
	quoted := pgx.Identifier{schema}.Sanitize()
	sql := "begin; create schema if not exists " + quoted + "; set local search_path = " + quoted + ", pg_temp;" + strings.Join(scripts, ";") + "; commit"
	if _, err := pool.Exec(context.Background(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatalf("make schema %q: %v", schema, err)
	}
}

func driftPool(t testing.TB, dsn string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func driftList(t testing.TB, ids ...string) migrator.List {
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

func driftOpen(t testing.TB, dsn string, strategy plugin.Strategy) *gorm.DB {
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

// driftMigration is the list of migrations where it does not matter.
func driftMigration(scripts ...string) []*gormigrate.Migration {
	return []*gormigrate.Migration{{ID: "0001", Migrate: func(tx *gorm.DB) error {
		return tx.Exec(strings.Join(scripts, ";")).Error
	}}}
}

// driftLines writes the differences of a tenant, a line each.
func driftLines(found []migrator.Difference, t scope.Tenant) []string {
	lines := []string{}
	for _, d := range found {
		if d.Tenant == t {
			lines = append(lines, fmt.Sprintf("%s: %s -> %s", d.Object, d.Want, d.Have))
		}
	}
	return lines
}

func driftEqual(t testing.TB, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got the differences\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// TestDriftFindsNothingWhereOneScriptRan: the schemas have names of all kinds, and
// one is that of a database of its own. What a view, a trigger or a default says
// of other objects must not hold the schema's name.
func TestDriftFindsNothingWhereOneScriptRan(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	pool := driftPool(t, dsn)
	list := driftList(t, "one", "two", "three", "public")
	schemas := map[scope.Tenant]string{list[0]: "tenant_one", list[1]: `the "se.cond" ténant's`, list[2]: "table", list[3]: "public"}
	for _, tenant := range list {
		driftMake(t, pool, schemas[tenant], driftScript)
	}
	db := driftOpen(t, dsn, plugin.BySchema(plugin.WithSchemaName(func(t scope.Tenant) string { return schemas[t] }), plugin.WithSharedScope("elsewhere")))
	m := migrator.New(db, list, driftMigration())
	for _, reference := range list {
		found, err := m.Drift(t.Context(), reference, migrator.Selection{})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range found {
			t.Errorf("by %s: %+v", reference, d)
		}
	}
	// What belongs to an extension is no tenant's.
	driftMake(t, pool, "tenant_one", "create function helper() returns int language sql as 'select 1'", "create table helpers (id serial primary key)", "create type help as enum ()",
		"alter extension plpgsql add function helper()", "alter extension plpgsql add table helpers", "alter extension plpgsql add sequence helpers_id_seq", "alter extension plpgsql add type help")
	if found, err := m.Drift(t.Context(), list[1], migrator.Selection{}); err != nil || len(found) > 0 {
		t.Errorf("%+v, %v", found, err)
	}
}

// driftCases are changes of a schema made by driftScript.
var driftCases = []struct {
	name, change string
	want         []string // as driftLines writes it; … stands for anything
}{
	{"missing table", `drop table "Weird ""Name"`, []string{
		`column "Weird ""Name"."a.b": integer -> `,
		`column "Weird ""Name"."select": text -> `,
		`table "Weird ""Name": unlogged table with (fillfactor=70) -> `,
	}},
	{"extra table", "create table extra ()", []string{"table extra:  -> table"}},
	{"logged", `alter table "Weird ""Name" set logged`, []string{`table "Weird ""Name": unlogged table with (fillfactor=70) -> table with (fillfactor=70)`}},
	{"extra column", `alter table "Weird ""Name" add extra date`, []string{`column "Weird ""Name".extra:  -> date`}},
	{"missing column", `alter table "Weird ""Name" drop "a.b"`, []string{`column "Weird ""Name"."a.b": integer -> `}},
	{"order of columns", `alter table "Weird ""Name" drop "a.b"; alter table "Weird ""Name" add "a.b" int`, nil},
	{"type", `alter table "Weird ""Name" alter "a.b" type bigint`, []string{`column "Weird ""Name"."a.b": integer -> bigint`}},
	{"length", `alter table "Weird ""Name" alter "select" type varchar(20)`, []string{`column "Weird ""Name"."select": text -> character varying(20)`}},
	{"nullability", "alter table customers alter name drop not null", []string{`column customers.name: text collate "C" not null -> text collate "C"`}},
	{"collation", `alter table "Weird ""Name" alter "select" type text collate "POSIX"`, []string{`column "Weird ""Name"."select": text -> text collate "POSIX"`}},
	{"default", "alter table customers alter number set default 7", []string{"column customers.number: bigint default next_number() -> bigint default 7"}},
	{"no default", "alter table customers alter mood drop default", []string{"column customers.mood: mood default 'ok'::mood -> mood"}},
	{"identity", "alter table customers alter id set generated by default", []string{"column customers.id: bigint not null generated always as identity -> bigint not null generated by default as identity"}},
	{"identity's sequence", "alter table customers alter id set increment 4", []string{"sequence customers_id_seq: bigint start 1 increment 3 from 1 to 9223372036854775807 cache 1 owned by customers.id -> bigint start 1 increment 4 from 1 to 9223372036854775807 cache 1 owned by customers.id"}},
	{"generated", "alter table customers alter loud drop expression", []string{"column customers.loud: text generated always as (shout(name)) stored -> text"}},
	{"inheritance", "alter table archive no inherit invoices", []string{"table archive: table inherits invoices -> table"}},
	{"partition", "alter table events detach partition events_2024", []string{"table events_2024: table partition of events FOR VALUES FROM ('2024-01-01 00:00:00+00') TO ('2025-01-01 00:00:00+00') -> table"}},
	{"row security", "alter table customers force row level security", []string{"table customers: table row security -> table row security forced row security"}},
	{"no row security", "alter table customers disable row level security", []string{"table customers: table row security -> table"}},

	{"missing index", "drop index invoices_shout_idx", []string{"index invoices_shout_idx: CREATE INDEX invoices_shout_idx ON invoices USING btree (shout(title::text)) -> "}},
	{"other index", "drop index invoices_shout_idx; create unique index invoices_shout_idx on invoices (shout(title))", []string{"index invoices_shout_idx: CREATE INDEX invoices_shout_idx ON invoices USING btree (shout(title::text)) -> CREATE UNIQUE INDEX invoices_shout_idx ON invoices USING btree (shout(title::text))"}},
	{"invalid index", "drop index events_at_idx; create index events_at_idx on only events (at); create index events_2024_at_idx on events_2024 (at)", []string{
		"index events_at_idx: CREATE INDEX events_at_idx ON ONLY events USING btree (at) -> CREATE INDEX events_at_idx ON ONLY events USING btree (at) INVALID",
	}},
	{"index of a view", "drop index totals_customer_idx", []string{"index totals_customer_idx: CREATE UNIQUE INDEX totals_customer_idx ON totals USING btree (customer) -> "}},

	{"missing primary key", "alter table notes drop constraint notes_pkey", []string{"constraint notes.notes_pkey: PRIMARY KEY (id) -> "}},
	{"missing foreign key", "alter table invoices drop constraint invoices_customer_fkey", []string{"constraint invoices.invoices_customer_fkey: FOREIGN KEY (customer) REFERENCES customers(id) ON DELETE CASCADE DEFERRABLE -> "}},
	{"other foreign key", "alter table invoices drop constraint invoices_customer_fkey; alter table invoices add constraint invoices_customer_fkey foreign key (customer) references customers",
		[]string{"constraint invoices.invoices_customer_fkey: FOREIGN KEY (customer) REFERENCES customers(id) ON DELETE CASCADE DEFERRABLE -> FOREIGN KEY (customer) REFERENCES customers(id)"}},
	{"foreign key elsewhere", "create table public.customers (id bigint primary key); alter table invoices drop constraint invoices_customer_fkey; alter table invoices add constraint invoices_customer_fkey foreign key (customer) references public.customers on delete cascade deferrable",
		[]string{"constraint invoices.invoices_customer_fkey: FOREIGN KEY (customer) REFERENCES customers(id) ON DELETE CASCADE DEFERRABLE -> FOREIGN KEY (customer) REFERENCES public.customers(id) ON DELETE CASCADE DEFERRABLE"}},
	{"other check", `alter table customers drop constraint "Name is not empty"; alter table customers add constraint "Name is not empty" check (name <> '-')`, []string{`constraint customers."Name is not empty": CHECK (name <> ''::text) -> CHECK (name <> '-'::text)`}},
	{"validated", "alter table invoices validate constraint fresh", []string{"constraint invoices.fresh: CHECK (shout(title::text) IS NOT NULL) NOT VALID -> CHECK (shout(title::text) IS NOT NULL)"}},
	{"unique with columns", "alter table invoices drop constraint invoices_title_key; alter table invoices add constraint invoices_title_key unique (title)", []string{"constraint invoices.invoices_title_key: UNIQUE (title) INCLUDE (total) -> UNIQUE (title)"}},

	{"enum value", "alter type level add value 'higher'", []string{"type level: enum ('low', 'high') -> enum ('low', 'high', 'higher')"}},
	{"missing enum value", "drop type level; create type level as enum ('low')", []string{"type level: enum ('low', 'high') -> enum ('low')"}},
	{"order of enum values", "drop type level; create type level as enum ('high', 'low')", []string{"type level: enum ('low', 'high') -> enum ('high', 'low')"}},
	{"extra type", "create type extra as enum ()", []string{"type extra:  -> enum ()"}},
	{"domain's check", "alter domain money_amount drop constraint positive", []string{"type money_amount: domain over numeric(12,2) not null default 0 constraint positive CHECK (VALUE >= 0::numeric) -> domain over numeric(12,2) not null default 0"}},
	{"domain's default", "alter domain money_amount drop default", []string{"type money_amount: domain over numeric(12,2) not null default 0 constraint positive CHECK (VALUE >= 0::numeric) -> domain over numeric(12,2) not null constraint positive CHECK (VALUE >= 0::numeric)"}},
	{"composite type", "alter type address add attribute country text", []string{`type address: composite (street text, city character varying(80) collate "C", mood mood) -> composite (street text, city character varying(80) collate "C", mood mood, country text)`}},
	{"range type", "alter table customers alter active type text; drop type span; create type span as range (subtype = date)", []string{"column customers.active: span -> text", "type span: range of timestamp with time zone -> range of date"}},
	{"sequence", "alter sequence numbers increment 6 no cycle", []string{"sequence numbers: integer start 10 increment 5 from 10 to 1000 cache 1 cycle -> integer start 10 increment 6 from 10 to 1000 cache 1"}},
	{"sequence's value", "select nextval('numbers'), nextval('invoices_id_seq')", nil},
	{"sequence's owner", "alter sequence invoices_id_seq owned by none", []string{"sequence invoices_id_seq: bigint start 1 increment 1 from 1 to 9223372036854775807 cache 1 owned by invoices.id -> bigint start 1 increment 1 from 1 to 9223372036854775807 cache 1"}},
	{"view", "create or replace view open_invoices with (security_barrier) as select i.*, c.name, shout(c.name) as loud from invoices i join customers c on c.id = i.customer", []string{"view open_invoices: view with (security_barrier=true) as SELECT …WHERE c.mood > 'sad'::mood; -> view with (security_barrier=true) as SELECT …ON c.id = i.customer;"}},
	{"view's options", "alter view open_invoices reset (security_barrier)", []string{"view open_invoices: view with (security_barrier=true) as SELECT …WHERE c.mood > 'sad'::mood; -> view as SELECT …WHERE c.mood > 'sad'::mood;"}},
	{"materialized view", "drop materialized view totals", []string{"index totals_customer_idx: CREATE …-> ", "view totals: materialized view as SELECT …; -> "}},
	{"missing trigger", "drop trigger touch on invoices", []string{"trigger invoices.touch: CREATE TRIGGER touch BEFORE INSERT OR UPDATE OF title ON invoices FOR EACH ROW WHEN (new.title::text <> shout('x'::text)) EXECUTE FUNCTION touch() -> "}},
	{"disabled trigger", "alter table invoices disable trigger late", []string{"trigger invoices.late: CREATE CONSTRAINT TRIGGER late AFTER INSERT ON invoices DEFERRABLE INITIALLY IMMEDIATE FOR EACH ROW EXECUTE FUNCTION touch() -> CREATE CONSTRAINT TRIGGER late AFTER INSERT ON invoices DEFERRABLE INITIALLY IMMEDIATE FOR EACH ROW EXECUTE FUNCTION touch() DISABLED"}},
	{"rule", "drop rule no_deletes on customers", []string{"rule customers.no_deletes: CREATE RULE no_deletes AS\n    ON DELETE TO customers DO INSTEAD  UPDATE customers SET mood = 'sad'::mood\n  WHERE customers.id = old.id; -> "}},
	{"policy", "alter policy mine on customers using (true)", []string{"policy customers.mine: permissive for select to public using (name = shout('me'::text) AND mood <> 'sad'::mood) -> permissive for select to public using (true)"}},
	{"function's body", "create or replace procedure clean_up() language sql as 'select 2'", []string{"procedure clean_up(): clean_up()\n LANGUAGE sql\nAS $procedure$select 1$procedure$ -> clean_up()\n LANGUAGE sql\nAS $procedure$select 2$procedure$"}},
	{"function's default", "create or replace function shout(what text, times integer default 3) returns text language plpgsql immutable strict as $f$ begin return repeat(upper(what), times); end $f$", []string{"function shout(what text, times integer): shout(what text, times integer DEFAULT 2)\n RETURNS text\n LANGUAGE plpgsql\n IMMUTABLE STRICT\nAS …$function$ -> shout(what text, times integer DEFAULT 3)\n…$function$"}},
	{"function's path", "alter function next_number() set search_path = public", []string{"function next_number(): next_number()\n RETURNS bigint\n LANGUAGE sql\n SET search_path TO current_schema, 'pg_temp'\nAS $function$select nextval('numbers')$function$ -> next_number()\n RETURNS bigint\n LANGUAGE sql\n SET search_path TO 'public'\nAS $function$select nextval('numbers')$function$"}},
	{"missing function", "drop procedure clean_up()", []string{"procedure clean_up(): clean_up()\n LANGUAGE sql\nAS $procedure$select 1$procedure$ -> "}},
	{"aggregate", "drop aggregate product (numeric)", []string{"aggregate product(numeric): returns numeric by numeric_mul final - state numeric from '1' -> "}},
}

// driftMatches reports whether a line is what it must be. Views read a little
// different from one version of PostgreSQL to the next.
func driftMatches(line, want string) bool {
	parts := strings.Split(want, "…")
	for _, part := range parts[:len(parts)-1] {
		_, after, ok := strings.Cut(line, part)
		if !ok {
			return false
		}
		line = after
	}
	last := parts[len(parts)-1]
	return len(parts) == 1 && line == last || len(parts) > 1 && strings.HasSuffix(line, last)
}

func TestDriftFindsEachKindOfDifference(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	pool := driftPool(t, dsn)
	ids := []string{"reference"}
	for i := range driftCases {
		ids = append(ids, fmt.Sprintf("case%02d", i))
	}
	list := driftList(t, ids...)
	// Another tenant's server may write dates in another way.
	for _, setting := range []string{"timezone = ''Asia/Tokyo''", "datestyle = ''German''"} {
		driftMake(t, pool, "tenant_reference", "do $$ begin execute format('alter database %I set "+setting+"', current_database()); end $$")
	}
	driftMake(t, pool, "tenant_reference", driftScript)
	for i, c := range driftCases {
		driftMake(t, pool, "tenant_"+ids[i+1], driftScript)
		driftMake(t, pool, "tenant_"+ids[i+1], c.change)
	}
	found, err := migrator.New(driftOpen(t, dsn, plugin.BySchema()), list, driftMigration()).Drift(t.Context(), list[0], migrator.Selection{})
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range driftCases {
		t.Run(c.name, func(t *testing.T) {
			got := driftLines(found, list[i+1])
			for n, want := range c.want {
				if n < len(got) && driftMatches(got[n], want) {
					got[n] = want
				}
			}
			driftEqual(t, got, c.want)
		})
	}
	if !slices.IsSortedFunc(found, func(a, b migrator.Difference) int { return slices.Index(list, a.Tenant) - slices.Index(list, b.Tenant) }) {
		t.Error("the differences are not in the order of the list")
	}
}

// TestDriftComparesTheOthersWhenATenantCantBeRead: one has no schema, one has no
// name that a schema can have.
func TestDriftComparesTheOthersWhenATenantCantBeRead(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	pool := driftPool(t, dsn)
	list := driftList(t, "reference", "missing", "same", "other", "refused", "last")
	for _, id := range []string{"reference", "same", "other", "last"} {
		driftMake(t, pool, "tenant_"+id, "create table invoices (id bigint)")
	}
	driftMake(t, pool, "tenant_other", "alter table invoices add title text")
	driftMake(t, pool, "tenant_last", "drop table invoices")
	db := driftOpen(t, dsn, plugin.BySchema(plugin.WithSchemaName(func(t scope.Tenant) string {
		if t == list[4] {
			return "pg_catalog"
		}
		return "tenant_" + t.String()
	})))
	m := migrator.New(db, list, driftMigration())
	found, err := m.Drift(t.Context(), list[0], migrator.Selection{})
	want := []migrator.Difference{
		{Tenant: list[3], Object: "column invoices.title", Have: "text"},
		{Tenant: list[5], Object: "column invoices.id", Want: "bigint"},
		{Tenant: list[5], Object: "table invoices", Want: "table"},
	}
	if !slices.Equal(found, want) {
		t.Errorf("got %+v, want %+v", found, want)
	}
	var both interface{ Unwrap() []error }
	if !errors.As(err, &both) || len(both.Unwrap()) != 2 {
		t.Fatalf("got error %v, want one for each of two tenants", err)
	}
	for i, tenant := range []scope.Tenant{list[1], list[4]} {
		var of *scope.TenantError
		if !errors.As(both.Unwrap()[i], &of) || of.Tenant != tenant {
			t.Errorf("got error %v, want one of %s", both.Unwrap()[i], tenant)
		}
	}

	found, err = m.Drift(t.Context(), list[0], migrator.Selection{IDs: list[2:4]})
	if err != nil || len(found) != 1 || found[0].Tenant != list[3] {
		t.Errorf("of two selected tenants: %+v, %v", found, err)
	}
	found, err = m.Drift(t.Context(), list[3], migrator.Selection{IDs: list[2:3]}) // the reference need not be selected
	if err != nil || !slices.Equal(found, []migrator.Difference{{Tenant: list[2], Object: "column invoices.title", Want: "text"}}) {
		t.Errorf("by the other one: %+v, %v", found, err)
	}
	var of *scope.TenantError
	if found, err = m.Drift(t.Context(), list[1], migrator.Selection{}); !errors.As(err, &of) || of.Tenant != list[1] || found != nil {
		t.Errorf("by a missing one: %+v, %v", found, err)
	}
	stranger := driftList(t, "stranger")[0]
	for _, reference := range []scope.Tenant{stranger, {}} {
		if found, err = m.Drift(t.Context(), reference, migrator.Selection{}); err == nil || !strings.Contains(err.Error(), "is not in the fleet") || found != nil {
			t.Errorf("by %q: %+v, %v", reference, found, err)
		}
	}
}

// TestDriftEndsWithItsContext: a view waits for the lock of its table.
func TestDriftEndsWithItsContext(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	pool := driftPool(t, dsn)
	list := driftList(t, "reference", "locked", "other")
	for _, id := range list {
		driftMake(t, pool, "tenant_"+id.String(), "create table invoices (id bigint)", "create view numbers as select id from invoices")
	}
	m := migrator.New(driftOpen(t, dsn, plugin.BySchema()), list, driftMigration(), migrator.WithLockTimeout(0))
	err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), "lock table tenant_locked.invoices"); err != nil {
			return err
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		stop, ended := errors.New("the command was stopped"), make(chan error)
		go func() {
			_, err := m.Drift(ctx, list[0], migrator.Selection{})
			ended <- err
		}()
		for waits := false; !waits; {
			if err := pool.QueryRow(t.Context(), "select exists (select from pg_locks where not granted and relation = 'tenant_locked.invoices'::regclass)").Scan(&waits); err != nil {
				return err
			}
		}
		cancel(stop)
		if err := <-ended; !errors.Is(err, stop) {
			t.Errorf("got error %v, want %v", err, stop)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestDriftDoesNotWaitForLocksWithoutEnd: whoever holds one, the others are
// compared.
func TestDriftDoesNotWaitForLocksWithoutEnd(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	pool := driftPool(t, dsn)
	list := driftList(t, "reference", "locked", "other")
	for _, id := range list {
		driftMake(t, pool, "tenant_"+id.String(), "create table invoices (id bigint)", "create view numbers as select id from invoices")
	}
	driftMake(t, pool, "tenant_other", "drop view numbers")
	m := migrator.New(driftOpen(t, dsn, plugin.BySchema()), list, driftMigration(), migrator.WithLockTimeout(time.Millisecond))
	err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), "lock table tenant_locked.invoices"); err != nil {
			return err
		}
		found, err := m.Drift(t.Context(), list[0], migrator.Selection{})
		var of *scope.TenantError
		var pgErr *pgconn.PgError
		if !errors.As(err, &of) || of.Tenant != list[1] || !errors.As(err, &pgErr) || pgErr.Code != "55P03" {
			t.Errorf("got error %v, want lock_not_available of the locked one", err)
		}
		if len(found) != 1 || found[0].Tenant != list[2] || found[0].Object != "view numbers" {
			t.Errorf("got %+v", found)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestDriftOfACatalog has a tenant with a schema and a role, two with databases of their own, of which
// one is suspended and has lost a column. What they use of an extension is in
// public, where a tenant with a database has its tables, too.
func TestDriftOfACatalog(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	key, err := catalog.NewKey("k1", secret)
	if err != nil {
		t.Fatal(err)
	}
	c, err := catalog.Open(t.Context(), dsn, catalog.WithKeys(catalog.FixedKeys{key}), catalog.WithRoles(), catalog.WithMigrations(migrator.Migrations(driftMigration(driftScript))), catalog.WithoutTemplates())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	prefix := strings.ToLower(rand.Text()[:10])
	var list []scope.Tenant
	for i, kind := range []catalog.Kind{catalog.OwnSchema, catalog.OwnDatabase, catalog.OwnDatabase} {
		tenant, err := c.Create(t.Context(), catalog.New{ID: fmt.Sprintf("drift-%s-%d", prefix, i), Kind: kind})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := c.Drop(context.Background(), tenant.ID, tenant.ID.String()); err != nil {
				t.Error(err)
			}
		})
		list = append(list, tenant.ID)
		pool := driftPool(t, dsn)
		if kind == catalog.OwnDatabase {
			cfg := pool.Config()
			cfg.ConnConfig.Database = tenant.Database
			if pool, err = pgxpool.NewWithConfig(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(pool.Close)
		}
		driftMake(t, pool, "public", "create function extended() returns bigint language sql as 'select 1'", "alter extension plpgsql add function extended()")
		driftMake(t, pool, tenant.Schema, "create table extras (id bigint default public.extended())")
		if i == 2 {
			driftMake(t, pool, tenant.Schema, "alter table extras add note text")
		}
	}
	if err := c.Suspend(t.Context(), list[2]); err != nil {
		t.Fatal(err)
	}
	found, err := migrator.New(driftOpen(t, dsn, c.Strategy()), c, driftMigration(driftScript)).Drift(t.Context(), list[0], migrator.Selection{})
	if want := []migrator.Difference{{Tenant: list[2], Object: "column extras.note", Have: "text"}}; err != nil || !slices.Equal(found, want) {
		t.Errorf("got %+v, %v, want %+v", found, err, want)
	}
}

// TestDriftOfPendingMigrations: what the latest migration makes is missing where
// it has not run.
func TestDriftOfPendingMigrations(t *testing.T) {
	t.Parallel()
	list := driftList(t, "new", "old")
	migrations := append(driftMigration("create table invoices (id bigint primary key)"), &gormigrate.Migration{ID: "0002", Migrate: func(tx *gorm.DB) error {
		return tx.Exec("alter table invoices add column title text").Error
	}})
	m := migrator.New(driftOpen(t, pgtest.Database(t), plugin.BySchema()), list, migrations)
	if _, err := m.Run(t.Context(), migrator.Only(migrator.Selection{IDs: list[:1]})); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Run(t.Context(), migrator.To("0001")); err != nil {
		t.Fatal(err)
	}
	for _, state := range []struct {
		is   migrator.State
		want []migrator.Difference
	}{
		{migrator.Pending, []migrator.Difference{{Tenant: list[1], Object: "column invoices.title", Want: "text"}}},
		{migrator.Current, nil},
	} {
		found, err := m.Drift(t.Context(), list[0], migrator.Selection{States: []migrator.State{state.is}})
		if err != nil || !slices.Equal(found, state.want) {
			t.Errorf("%s ones: got %+v, %v, want %+v", state.is, found, err, state.want)
		}
	}
}
