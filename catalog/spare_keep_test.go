package catalog_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/scope"
)

// TestSparesOfOtherMigrationsAreNotTaken and go when they are old.
func TestSparesOfOtherMigrationsAreNotTaken(t *testing.T) {
	t.Parallel()
	for name, k := range spareKinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn, key := pgtest.Database(t), testKey(t, "k1")
			opts := append(slices.Clone(k.opts), catalog.WithKeys(catalog.FixedKeys{key}), catalog.WithSpares(k.kind, 1))
			old := brief(t, dsn, opts...)
			stocked(t, old, 1)
			list := append(migrations(), second())
			next := open(t, dsn, append(opts, catalog.WithMigrations(list))...)
			stocked(t, next, 2)
			db, pool := use(t, dsn, next, nil), admin(t, dsn)
			before, after := create(t, old, catalog.New{ID: unique("old"), Kind: k.kind}), create(t, next, catalog.New{ID: unique("new"), Kind: k.kind})
			mustBeSpare(t, before)
			mustBeSpare(t, after)
			has := func(tenant catalog.Tenant) (notes bool) {
				t.Helper()
				if err := db.WithContext(scope.With(t.Context(), tenant.ID)).Raw("select to_regclass('notes') is not null").Scan(&notes).Error; err != nil {
					t.Error(err)
				}
				return notes
			}
			if has(before) || !has(after) {
				t.Errorf("the second migration: %v before, %v after", has(before), has(after))
			}
			m := migrator.New(db, next, list)
			if _, err := m.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if !has(before) {
				t.Error("the tenant with an older spare was not migrated")
			}
			stocked(t, next, 2)
			if err := old.Close(); err != nil {
				t.Fatal(err)
			}
			execute(t, pool, "update tenantry.spares set created_at = created_at - interval '2 hours'")
			create(t, next, catalog.New{ID: unique("stir"), Kind: k.kind})
			eventually(t, "the old spare goes", func() bool {
				return one[int](t, pool, "select count(*)::int from tenantry.spares where state <> 'ready' or created_at < now() - interval '1 hour'") == 0
			})
			stocked(t, next, 1) // the one that was taken is made anew
			mustMatchWithSpares(t, next, pool)
		})
	}
}

// TestAMigratorFindsNothingToDo where a sign-up has taken a spare.
func TestAMigratorFindsNothingToDo(t *testing.T) {
	t.Parallel()
	runs := countRuns()
	c, db, _ := service(t, catalog.WithSpares(catalog.OwnSchema, 1), catalog.WithMigrations(runs.Migrations))
	stocked(t, c, 1)
	mustBeSpare(t, create(t, c, catalog.New{ID: "acme"}))
	report, err := migrator.New(db, c, runs.Migrations).Run(t.Context())
	if err != nil || runs.tenant.Load() != 0 {
		t.Errorf("got %+v, %v, and %d runs", report, err, runs.tenant.Load())
	}
	works(t, db, "acme")
}

func TestResealSealsSpares(t *testing.T) {
	t.Parallel()
	dsn, old, next := pgtest.Database(t), testKey(t, "2026"), testKey(t, "2027")
	c := brief(t, dsn, catalog.WithKeys(catalog.FixedKeys{old}), catalog.WithSpares(catalog.OwnDatabase, 1))
	stocked(t, c, 1)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := bare(t, dsn, next, old).Reseal(t.Context()); err != nil || n != 1 {
		t.Fatalf("got %d, %v", n, err)
	}
	c = open(t, dsn, catalog.WithKeys(catalog.FixedKeys{next}), catalog.WithSpares(catalog.OwnDatabase, 1))
	tenant := create(t, c, ownDatabase(unique("sealed")))
	mustBeSpare(t, tenant)
	works(t, use(t, dsn, c, nil), tenant.ID.String())
}

func TestSparesGoWithTheirServer(t *testing.T) {
	t.Parallel()
	for name, k := range spareKinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, _, dsn := service(t, append(k.opts, catalog.WithSpares(k.kind, 2))...)
			other := pgtest.Database(t)
			mustAdd(t, c, catalog.NewServer{Name: "b", ConnString: other})
			stockedOn(t, c, "b", 2)
			tenant := create(t, c, catalog.New{ID: unique("stays"), Kind: k.kind, Server: "b"})
			mustRefuse(t, c.RemoveServer(t.Context(), "b"), "server", catalog.ErrInvalid)
			stockedOn(t, c, "b", 2)
			if err := c.Drop(t.Context(), tenant.ID, tenant.ID.String()); err != nil {
				t.Fatal(err)
			}
			pool := admin(t, dsn)
			names := one[[]string](t, pool, "select array_agg(name) from tenantry.spares where server = 'b'")
			if err := c.RemoveServer(t.Context(), "b"); err != nil {
				t.Fatal(err)
			}
			if n := one[int](t, pool, "select count(*)::int from tenantry.spares where server = 'b'"); n != 0 {
				t.Errorf("%d spares are left", n)
			}
			mustBeGone(t, admin(t, other), names)
		})
	}
}

// TestSparesTakeNoRoom but there are none that nobody could take.
func TestSparesTakeNoRoom(t *testing.T) {
	t.Parallel()
	c, _, dsn := service(t)
	capacity := 3
	mustChange(t, c, catalog.Main, catalog.ServerChange{Capacity: &capacity})
	create(t, c, catalog.New{ID: "first"})
	keeping := open(t, dsn, catalog.WithSpares(catalog.OwnSchema, 5))
	stocked(t, keeping, 2)
	for range 2 {
		mustBeSpare(t, create(t, keeping, catalog.New{ID: unique("fits")}))
	}
	_, err := keeping.Create(t.Context(), catalog.New{ID: "toomany"})
	mustBe(t, err, catalog.ErrNoRoom)
	stocked(t, keeping, 0)
}

func TestClosingInTheMiddleLeavesNoHalfSpare(t *testing.T) {
	t.Parallel()
	for name, k := range spareKinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := pgtest.Database(t)
			c := brief(t, dsn, append(k.opts, catalog.WithKeys(catalog.FixedKeys{testKey(t, "k1")}), catalog.WithSpares(k.kind, 50))...)
			pool := admin(t, dsn)
			eventually(t, "one is made", func() bool {
				return one[bool](t, pool, "select exists (select from tenantry.spares where state = 'ready') and exists (select from tenantry.spares where state = 'building')")
			})
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			if n := one[int](t, pool, "select count(*)::int from tenantry.spares where state <> 'ready'"); n != 0 {
				t.Errorf("%d are not ready", n)
			}
			mustMatchWithSpares(t, open(t, dsn), pool)
		})
	}
}

// TestTwoProcessesKeepNoMoreThanOne would.
func TestTwoProcessesKeepNoMoreThanOne(t *testing.T) {
	t.Parallel()
	dsn, keys := pgtest.Database(t), catalog.WithKeys(catalog.FixedKeys{testKey(t, "k1")})
	var log record
	for range 3 {
		open(t, dsn, keys, catalog.WithSpares(catalog.OwnSchema, 4), catalog.WithLogger(log.logger()))
	}
	pool := admin(t, dsn)
	eventually(t, "they are made", func() bool {
		n := one[int](t, pool, "select count(*)::int from tenantry.spares")
		if n > 4 {
			t.Fatalf("there are %d", n)
		}
		return n == 4 && one[bool](t, pool, "select not exists (select from tenantry.spares where state <> 'ready')")
	})
	if strings.Contains(log.String(), "not looked after") {
		t.Error(log.String())
	}
}

func TestWrongNumbersOfSparesAreRefused(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	for _, o := range []catalog.Option{catalog.WithSpares("tent", 1), catalog.WithSpares(catalog.OwnSchema, -1)} {
		_, err := catalog.Open(t.Context(), dsn, o)
		mustSay(t, err, "WithSpares")
	}
}

func TestSparesMoveWithTheMaster(t *testing.T) {
	t.Parallel()
	for name, k := range spareKinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := pgtest.Database(t)
			opts := append(slices.Clone(k.opts), catalog.WithKeys(catalog.FixedKeys{testKey(t, "k1")}), catalog.WithSpares(k.kind, 1))
			c := brief(t, dsn, opts...)
			stocked(t, c, 1)
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			pool := admin(t, dsn)
			spare := one[string](t, pool, "select name from tenantry.spares")
			execute(t, pool, "update tenantry.databases set cluster = 'there'")
			moved := open(t, dsn, append(opts, catalog.WithMovedMaster())...)
			tenant := create(t, moved, catalog.New{ID: unique("moved"), Kind: k.kind})
			if tenant.Schema != spare && tenant.Database != spare {
				t.Errorf("it has %s.%s, and not %s", tenant.Database, tenant.Schema, spare)
			}
			works(t, use(t, dsn, moved, nil), tenant.ID.String())
		})
	}
}

// TestASpareThatIsSealedWithALostKeyIsNotTaken on any server.
func TestASpareThatIsSealedWithALostKeyIsNotTaken(t *testing.T) {
	t.Parallel()
	dsn, other, lost, key := pgtest.Database(t), pgtest.Database(t), testKey(t, "lost"), testKey(t, "k1")
	last := open(t, dsn, catalog.WithKeys(catalog.FixedKeys{key}))
	mustAdd(t, last, catalog.NewServer{Name: "b", ConnString: other})
	first := brief(t, dsn, catalog.WithKeys(catalog.FixedKeys{lost, key}), catalog.WithSpares(catalog.OwnDatabase, 1))
	stocked(t, first, 1)
	stockedOn(t, first, "b", 1)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	c := brief(t, dsn, catalog.WithKeys(catalog.FixedKeys{key}), catalog.WithSpares(catalog.OwnDatabase, 1))
	db := use(t, dsn, last, nil)
	for _, server := range []string{catalog.Main, "b"} {
		tenant := create(t, c, catalog.New{ID: unique("sealed"), Kind: catalog.OwnDatabase, Server: server})
		if isSpare(tenant) {
			t.Errorf("%s: it has taken the spare", server)
		}
		works(t, db, tenant.ID.String())
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
