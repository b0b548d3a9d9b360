//go:build unix

package catalog_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/isolation"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
)

// workWithSpare waits for a spare, signs the tenant up, and waits for the next one.
func (c crash) workWithSpare(ctx context.Context, tenants *catalog.Catalog) error {
	if err := c.awaitSpare(ctx, tenants); err != nil {
		return err
	}
	if _, err := tenants.Create(ctx, c.Tenant); err != nil {
		return err
	}
	return c.awaitSpare(ctx, tenants)
}

func (c crash) awaitSpare(ctx context.Context, tenants *catalog.Catalog) error {
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		servers, err := tenants.Servers(ctx)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(servers, func(s catalog.Server) bool { return s.Spares == 0 }) {
			return nil
		}
		<-again.C
	}
}

// withOther returns c for a tenant on another server, which the master knows.
func (c crash) withOther(t *testing.T) crash {
	t.Helper()
	c.Tenant.Server = "other"
	keeping := c
	keeping.Spare = c.Remove
	opts, err := keeping.options(slog.DiscardHandler)
	if err != nil {
		t.Fatal(err)
	}
	tenants := brief(t, c.DSN, opts...)
	mustAdd(t, tenants, catalog.NewServer{Name: "other", ConnString: c.Other})
	if c.Remove {
		stockedOn(t, tenants, "other", 1)
	}
	if err := tenants.Close(); err != nil {
		t.Fatal(err)
	}
	return c
}

// spareSteps returns what an undisturbed process logs meanwhile, each step once.
func (c crash) spareSteps(t *testing.T) []string {
	t.Helper()
	var j journal
	if err := c.work(t.Context(), &j); err != nil {
		t.Fatal(err)
	}
	steps := slices.DeleteFunc(j.all(), func(s string) bool { return s == "catalog: spare: ready" })
	steps = slices.Compact(slices.Sorted(slices.Values(steps)))
	t.Logf("steps: %q", steps)
	if len(steps) < 3 {
		t.Fatal("too few")
	}
	return steps
}

// TestAKilledProcessLeavesNoSpareThatIsNotKnown kills a process at each step of the
// making, the taking and the dropping of a spare.
func TestAKilledProcessLeavesNoSpareThatIsNotKnown(t *testing.T) {
	t.Parallel()
	for op, work := range map[string]crash{"take": {Spare: true}, "take elsewhere": {Spare: true, Other: "yes"}, "remove": {Remove: true, Other: "yes"}} {
		for name, c := range work.kinds() {
			prepared := func(t *testing.T) crash {
				t.Helper()
				at := c.anew(t)
				if at.Other != "" {
					at.Other = pgtest.Database(t)
				}
				last := at
				last.Spare = false
				last.open(t, slog.DiscardHandler) // which drops what there is in the end
				if at.Other != "" {
					at = at.withOther(t)
				}
				return at
			}
			t.Run(op+" a "+name, func(t *testing.T) {
				t.Parallel()
				for _, step := range isolation.Crashes(t, prepared(t).spareSteps(t)) {
					t.Run(step, func(t *testing.T) {
						t.Parallel()
						at := prepared(t)
						at.Step = step
						at.killWithSpare(t)
					})
				}
			})
		}
	}
}

func (c crash) killWithSpare(t *testing.T) {
	t.Helper()
	pool := admin(t, c.DSN)
	before := one[[]string](t, pool, "select coalesce(array_agg(name), '{}') from tenantry.spares")
	c.run(t, func(*os.Process) {})
	before = append(before, one[[]string](t, pool, "select coalesce(array_agg(name), '{}') from tenantry.spares")...)
	keeping := c
	c.Spare = false
	tenants := c.open(t, slog.DiscardHandler)
	eventually(t, "everything is repaired", func() bool {
		if err := tenants.Repair(t.Context()); err != nil {
			t.Fatal(err)
		}
		return one[bool](t, pool, "select not exists (select from tenantry.spares where state <> 'ready') and not exists (select from tenantry.tenants where state <> 'active')")
	})
	c.mustHaveNoStrays(t, pool, before)
	c.goOn(t, tenants, keeping, pool)
}

// goOn does once more what was cut off.
func (c crash) goOn(t *testing.T, tenants *catalog.Catalog, keeping crash, pool *pgxpool.Pool) {
	t.Helper()
	if c.Remove {
		if err := tenants.RemoveServer(t.Context(), "other"); err != nil && !errors.Is(err, catalog.ErrUnknown) {
			t.Fatal(err)
		}
		if n := one[int](t, pool, "select count(*)::int from tenantry.spares where server <> 'main'"); n != 0 {
			t.Errorf("%d spares are left", n)
		}
		return
	}
	db := use(t, c.DSN, tenants, nil)
	tenant, err := tenants.Get(t.Context(), parse(t, c.Tenant.ID))
	switch {
	case err == nil:
		works(t, db, c.Tenant.ID)
		mustHaveMark(t, c.DSN, tenant)
	case !errors.Is(err, catalog.ErrUnknown):
		t.Fatal(err)
	}
	next := keeping.open(t, slog.DiscardHandler)
	if err := keeping.awaitSpare(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	other := c.Tenant
	other.ID = unique("next")
	taken := create(t, next, other)
	mustBeSpare(t, taken)
	works(t, db, other.ID)
	if taken.Schema == tenant.Schema && taken.Database == tenant.Database {
		t.Error("two tenants have one spare")
	}
	if err == nil {
		if err := tenants.Drop(t.Context(), tenant.ID, c.Tenant.ID); err != nil {
			t.Error(err)
		}
	}
}

// mustHaveNoStrays looks for what bears the names of spares, and is neither a spare nor a
// tenant's.
func (c crash) mustHaveNoStrays(t *testing.T, pool *pgxpool.Pool, names []string) {
	t.Helper()
	there := []*pgxpool.Pool{pool}
	if c.Other != "" {
		there = append(there, admin(t, c.Other))
	}
	known := one[[]string](t, pool, `select coalesce(array_agg(name), '{}') from (select name from tenantry.spares
		union all select schema from tenantry.tenants union all select database from tenantry.tenants union all select role from tenantry.tenants) k (name) where name is not null`)
	for _, p := range there {
		for _, name := range one[[]string](t, p, `select coalesce(array_agg(o.what || ' ' || o.name), '{}') from (
			select 'schema', nspname from pg_namespace union all select 'database', datname from pg_database union all select 'role', rolname from pg_roles
			) o (what, name) where (name = any ($1) or what = 'schema' and starts_with(name, 'spare_')) and name <> all ($2)`, names, known) {
			t.Errorf("a stray %s", name)
		}
	}
	if n := one[int](t, pool, "select count(*)::int from tenantry.databases d where kind = 'database' and name <> all ($1)", known); n != 0 {
		t.Errorf("the master knows %d databases that nobody has", n)
	}
}

func TestAFailedSignUpGivesNoSpareBack(t *testing.T) {
	t.Parallel()
	for name, k := range spareKinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn, other := pgtest.Database(t), pgtest.Database(t)
			c := holdAt(t, dsn, "catalog: reserved", append(k.opts, catalog.WithKeys(catalog.FixedKeys{testKey(t, "k1")}),
				catalog.WithMigrations(migrations()), catalog.WithSpares(k.kind, 1))...)
			t.Cleanup(func() { dropAll(t, c.Catalog); dropSpares(t, dsn); dropTemplates(t, dsn) })
			mustAdd(t, c.Catalog, catalog.NewServer{Name: "b", ConnString: other})
			stockedOn(t, c.Catalog, "b", 1)
			pool := admin(t, dsn)
			spare := one[string](t, pool, "select name from tenantry.spares where server = 'b'")
			ctx, cancel := context.WithCancel(t.Context())
			id, done := unique("fails"), make(chan error, 1)
			go func() { _, err := c.Create(ctx, catalog.New{ID: id, Kind: k.kind, Server: "b"}); done <- err }()
			wait(t, c.reached, done)
			cancel()
			close(c.goOn)
			mustBe(t, <-done, context.Canceled)
			mustHaveState(t, c.Catalog, parse(t, id), catalog.Failed)
			if n := one[int](t, pool, "select count(*)::int from tenantry.spares where name = $1", spare); n != 0 {
				t.Error("the spare is back")
			}
			mustBeGone(t, admin(t, other), []string{spare})
			if err := c.Repair(t.Context(), parse(t, id)); err != nil {
				t.Fatal(err)
			}
			works(t, use(t, dsn, c.Catalog, nil), id)
		})
	}
}

// TestMigrationsThatNeedATenantGetNoSpares says so once.
func TestMigrationsThatNeedATenantGetNoSpares(t *testing.T) {
	t.Parallel()
	var log record
	c, db, dsn := service(t, catalog.WithSpares(catalog.OwnSchema, 2), catalog.WithLogger(log.logger()),
		catalog.WithMigrations(then(func(*gorm.DB) error { return nil })))
	warned := func() int { return strings.Count(log.String(), "not looked after") }
	eventually(t, "a warning", func() bool { return warned() > 0 })
	for range 3 {
		id := unique("needs")
		if isSpare(create(t, c, catalog.New{ID: id})) {
			t.Error("it has taken a spare")
		}
		works(t, db, id)
	}
	if n := warned(); n != 1 {
		t.Errorf("%d warnings", n)
	}
	pool := admin(t, dsn)
	eventually(t, "what was made is undone", func() bool { return one[int](t, pool, "select count(*)::int from tenantry.spares") == 0 })
	mustMatchWithSpares(t, c, pool)
}

// TestASpareWhoseLockWasLostIsNotMadeBehindItsDrop by a process that took this one for
// dead.
func TestASpareWhoseLockWasLostIsNotMadeBehindItsDrop(t *testing.T) {
	t.Parallel()
	for name, k := range spareKinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn, ring := pgtest.Database(t), catalog.WithKeys(catalog.FixedKeys{testKey(t, "k1")})
			other, pool := open(t, dsn, ring), admin(t, dsn)
			h := holdAt(t, dsn, "catalog: spare: reserved", append(slices.Clone(k.opts), ring, catalog.WithMigrations(migrations()), catalog.WithSpares(k.kind, 1))...)
			func() {
				defer close(h.goOn)
				wait(t, h.reached, make(chan error))
				cutLocks(t, pool)
				if err := other.Repair(t.Context()); err != nil {
					t.Error(err)
				}
				if n := one[int](t, pool, "select count(*)::int from tenantry.spares"); n != 0 {
					t.Errorf("%d spares are left", n)
				}
			}()
			stocked(t, other, 1) // by the next try
			mustMatchWithSpares(t, other, pool)
		})
	}
}
