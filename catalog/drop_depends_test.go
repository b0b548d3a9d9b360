package catalog_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/catalog"
)

// TestDropTakesNothingOfOthersWithIt: CASCADE would.
func TestDropTakesNothingOfOthersWithIt(t *testing.T) {
	t.Parallel()
	for name, other := range map[string]struct{ make, named, remove string }{
		"a view":              {"create view public.report as select title from A.invoices", "report", "drop view public.report"},
		"a materialized view": {"create materialized view B.report as select title from A.invoices", "report", "drop materialized view B.report"},
		"a foreign key":       {"create table public.payments (invoice bigint references A.invoices)", "payments", "drop table public.payments"},
		"a column of a type":  {"create type A.color as enum ('red'); create table B.cars (id int, paint A.color)", "cars", "drop table B.cars"},
		"an array of a type":  {"create type A.color as enum ('red'); create table B.cars (id int, paints A.color[])", "cars", "drop table B.cars"},
		"a default":           {"create table B.notes (id bigint default nextval('A.invoices_id_seq'))", "notes", "drop table B.notes"},
		"a trigger": {"create function A.f() returns trigger language plpgsql as 'begin return new; end'; create trigger watch before insert on B.invoices for each row execute function A.f()",
			"watch", "drop trigger watch on B.invoices"},
		"a table that inherits": {"create table public.bills () inherits (A.invoices)", "bills", "drop table public.bills"},
		"a function":            {"create function public.g(A.invoices) returns int language sql as 'select 1'", "g(", "drop function public.g"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, db, dsn := service(t, catalog.WithRoles())
			s, pool := site{c, db, dsn}, admin(t, dsn)
			a, b := create(t, c, catalog.New{ID: unique("a")}), create(t, c, catalog.New{ID: unique("b")})
			in := strings.NewReplacer("A.", a.Schema+".", "B.", b.Schema+".")
			execute(t, pool, in.Replace(other.make))
			for _, state := range []catalog.State{catalog.Suspended, catalog.Active} {
				execute(t, pool, "update tenantry.tenants set state = $1 where id = $2", state, a.ID.String())
				err := c.Drop(t.Context(), a.ID, a.ID.String())
				mustBe(t, err, catalog.ErrForeign)
				mustSay(t, err, other.named)
				mustHaveState(t, c, a.ID, state)
			}
			sees(t, c, idRef(a.ID.String()), nil)
			works(t, db, a.ID.String())
			s.titles(t, b.ID.String())
			execute(t, pool, in.Replace(other.remove))
			if err := c.Drop(t.Context(), a.ID, a.ID.String()); err != nil {
				t.Error(err)
			}
			s.titles(t, b.ID.String())
		})
	}
}

// TestWhatATenantHasInItsSchemaIsNoHindrance to its Drop.
func TestWhatATenantHasInItsSchemaIsNoHindrance(t *testing.T) {
	t.Parallel()
	c, _, dsn := service(t, catalog.WithRoles())
	pool, tenant := admin(t, dsn), create(t, c, catalog.New{ID: unique("full")})
	execute(t, pool, strings.ReplaceAll(`
		create type A.color as enum ('red');
		create table A.cars (id serial primary key, invoice bigint references A.invoices, paint A.color default 'red', paints A.color[], long text);
		create table A.parted (id int, note text) partition by range (id);
		create table A.part partition of A.parted for values from (1) to (2);
		create index on A.parted (note);
		create view A.report as select * from A.cars;
		create materialized view A.stored as select * from A.report;
		create table public.shared (id int primary key);
		create table A.uses (id int references public.shared);
		create function A.f() returns trigger language plpgsql as 'begin return new; end';
		create trigger watch before insert on A.cars for each row execute function A.f();
		alter table A.cars enable row level security;
		create policy own on A.cars using (id > 0)`, "A.", tenant.Schema+"."))
	if err := c.Drop(t.Context(), tenant.ID, tenant.ID.String()); err != nil {
		t.Error(err)
	}
	mustMatch(t, c, pool, tenant.ID.String())
}

// TestDropDoesNotWaitForEverForATransaction: others could not be made meanwhile.
func TestDropDoesNotWaitForEverForATransaction(t *testing.T) {
	t.Parallel()
	c, db, dsn := service(t)
	tenant := create(t, c, catalog.New{ID: unique("busy")})
	tx := db.WithContext(as(t, tenant.ID.String())).Begin()
	defer tx.Rollback() // a second time, in the usual case
	if err := tx.Create(&Invoice{Title: "open"}).Error; err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := c.Drop(ctx, tenant.ID, tenant.ID.String())
	if sqlState(err) != "55P03" || ctx.Err() != nil { // lock_not_available
		t.Errorf("got error %v", err)
	}
	mustHaveState(t, c, tenant.ID, catalog.Deleting)
	if err := tx.Rollback().Error; err != nil {
		t.Fatal(err)
	}
	if err := c.Repair(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustMatch(t, c, admin(t, dsn), tenant.ID.String())
}
