package catalog_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
)

// spareKinds are the kinds of tenants that may get a spare.
var spareKinds = map[string]struct {
	kind catalog.Kind
	opts []catalog.Option
}{
	"schema":             {catalog.OwnSchema, nil},
	"schema with a role": {catalog.OwnSchema, []catalog.Option{catalog.WithRoles()}},
	"database":           {catalog.OwnDatabase, nil},
}

func TestASignUpTakesASpare(t *testing.T) {
	t.Parallel()
	for name, k := range spareKinds {
		for _, server := range []string{catalog.Main, "b"} {
			t.Run(name+" on "+server, func(t *testing.T) {
				t.Parallel()
				runs := countRuns()
				c, db, dsn := service(t, append(k.opts, catalog.WithSpares(k.kind, 1), catalog.WithMigrations(runs.Migrations))...)
				mustAdd(t, c, catalog.NewServer{Name: "b", ConnString: pgtest.Database(t)})
				stockedOn(t, c, server, 1)
				id := unique("fast")
				if _, err := c.Lookup(t.Context(), subdomain(id)); !errors.Is(err, catalog.ErrUnknown) {
					t.Fatal(err) // and that is remembered
				}
				tenant := create(t, c, catalog.New{ID: id, Kind: k.kind, Server: server, Labels: map[string]string{"plan": "large"}})
				mustBeSpare(t, tenant)
				if n := runs.tenant.Load(); n > 0 {
					t.Errorf("migrations ran %d times at sign-up", n)
				}
				if _, err := c.Lookup(t.Context(), subdomain(id)); err != nil {
					t.Error(err)
				}
				works(t, db, id)
				again, err := c.Get(t.Context(), tenant.ID)
				if err != nil || again.State != catalog.Active || again.Labels["plan"] != "large" || again.Server != server || fmt.Sprint(again.Hosts) != fmt.Sprint(tenant.Hosts) {
					t.Errorf("got %+v, %v, want %+v", again, err, tenant)
				}
				stockedOn(t, c, server, 1) // again
				mustHaveMark(t, dsn, tenant)
				if err := c.Drop(t.Context(), tenant.ID, id); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestASpareOfASchemaHasItsRoleAndNoMoreRights(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	execute(t, admin(t, dsn), "create schema plans; create table plans.plans (id int); grant select on plans.plans to public")
	c := open(t, dsn, catalog.WithRoles(), catalog.WithSpares(catalog.OwnSchema, 2), catalog.WithSharedSchemas("plans"))
	db := use(t, dsn, c, nil)
	stocked(t, c, 2)
	a, b := create(t, c, catalog.New{ID: unique("a")}), create(t, c, catalog.New{ID: unique("b")})
	mustBeSpare(t, a)
	mustBeSpare(t, b)
	asA := db.WithContext(as(t, a.ID.String()))
	for _, sql := range []string{
		"select * from " + b.Schema + ".invoices", "create table x (id int)", "insert into migrations values ('x')",
		"select * from tenantry.spares", "select * from tenantry.tenants",
	} {
		if err := asA.Exec(sql).Error; sqlState(err) != denied {
			t.Errorf("%s: got error %v, want %s", sql, err, denied)
		}
	}
	var user string
	if err := asA.Raw("select current_user from plans").Scan(&user).Error; err != nil {
		t.Error(err) // a shared table
	}
	if err := asA.Raw("select current_user").Scan(&user).Error; err != nil || user != a.Role {
		t.Errorf("statements run as %q, %v, want %q", user, err, a.Role)
	}
}

// TestSimultaneousSignUpsTakeEachSpareOnce in two processes, with fewer spares than
// sign-ups, while new ones are made.
func TestSimultaneousSignUpsTakeEachSpareOnce(t *testing.T) {
	t.Parallel()
	const names, rivals, spares = 60, 20, 8
	dsn, key := pgtest.Database(t), testKey(t, "k1")
	opts := []catalog.Option{
		catalog.WithRoles(), catalog.WithKeys(catalog.FixedKeys{key}),
		catalog.WithSpares(catalog.OwnSchema, spares), catalog.WithSpares(catalog.OwnDatabase, spares/4),
	}
	processes := []*catalog.Catalog{open(t, dsn, opts...), open(t, dsn, opts...)}
	stocked(t, processes[0], spares+spares/4)
	prefix := unique("once")
	kind := func(i int) catalog.Kind {
		if i%6 == 0 {
			return catalog.OwnDatabase
		}
		return catalog.OwnSchema
	}
	var own, oneName, oneHost []*attempt
	for i := range names {
		own = append(own, &attempt{new: catalog.New{ID: fmt.Sprintf("%s-%d", prefix, i), Kind: kind(i)}})
	}
	for i := range rivals {
		host := fmt.Sprintf("%s-name-%d", prefix, i)
		oneName = append(oneName, &attempt{new: catalog.New{ID: prefix + "-name", Hosts: []string{host}, Kind: kind(i)}})
		id := fmt.Sprintf("%s-host-%d", prefix, i)
		oneHost = append(oneHost, &attempt{new: catalog.New{ID: id, Hosts: []string{id, prefix + "-host"}, Kind: kind(i)}})
	}
	signUp(t.Context(), processes, own, oneName, oneHost)
	oneWins(t, "id", oneName)
	oneWins(t, "host", oneHost)
	db, pool, taken := use(t, dsn, processes[1], nil), admin(t, dsn), 0
	for _, a := range own {
		if a.err != nil {
			t.Errorf("%s: %v", a.new.ID, a.err)
			continue
		}
		tenant, err := processes[0].Get(t.Context(), parse(t, a.new.ID))
		if err != nil {
			t.Fatal(err)
		}
		if isSpare(tenant) {
			taken++
		}
		works(t, db, a.new.ID)
		if got := (site{processes[0], db, dsn}).titles(t, a.new.ID); len(got) != 1 || got[0] != a.new.ID {
			t.Errorf("%s has the invoices %q", a.new.ID, got)
		}
	}
	if taken < spares {
		t.Errorf("%d sign-ups have taken a spare", taken)
	}
	if n := one[int](t, pool, "select count(*)::int - count(distinct (database, schema))::int from tenantry.tenants"); n != 0 {
		t.Errorf("%d tenants share a place", n)
	}
	if n := one[int](t, pool, "select count(*)::int from tenantry.spares s join tenantry.tenants t on t.role = s.name or t.schema = s.name or t.database = s.name"); n != 0 {
		t.Errorf("%d spares are tenants'", n)
	}
	eventually(t, "they are made again", func() bool {
		return one[string](t, pool, "select coalesce(string_agg(distinct state, ' '), '') || count(*) from tenantry.spares") == fmt.Sprint("ready", spares+spares/4)
	})
}

func TestWithoutASpareEverythingIsMade(t *testing.T) {
	t.Parallel()
	c, db, dsn := service(t, catalog.WithSpares(catalog.OwnSchema, 1))
	mustAdd(t, c, catalog.NewServer{Name: "b", ConnString: pgtest.Database(t)})
	stockedOn(t, c, "b", 1)
	stocked(t, c, 1)
	plain := open(t, dsn) // keeps none, takes none
	full := true
	mustChange(t, c, "b", catalog.ServerChange{Full: &full})
	none := open(t, dsn, catalog.WithSpares(catalog.OwnSchema, 1), catalog.WithRoles())
	for name, test := range map[string]struct {
		c *catalog.Catalog
		n catalog.New
	}{
		"another kind":         {c, ownDatabase(unique("kind"))},
		"no spares are wanted": {plain, catalog.New{ID: unique("plain"), Server: catalog.Main}},
	} {
		tenant := create(t, test.c, test.n)
		if isSpare(tenant) {
			t.Errorf("%s: it has taken a spare", name)
		}
		works(t, db, test.n.ID)
	}
	tenant := create(t, none, catalog.New{ID: unique("role"), Server: catalog.Main})
	if tenant.Role == "" {
		t.Error("it has taken a spare without a role")
	}
	_, err := c.Create(t.Context(), catalog.New{ID: unique("full"), Server: "b"})
	mustBe(t, err, catalog.ErrNoRoom)
}

func TestASpareIsNoTenant(t *testing.T) {
	t.Parallel()
	c, _, dsn := service(t, catalog.WithSpares(catalog.OwnSchema, 1))
	stocked(t, c, 1)
	pool := admin(t, dsn)
	name := one[string](t, pool, "select name from tenantry.spares")
	for tenant, err := range c.List(t.Context(), catalog.Filter{}) {
		t.Errorf("listed: %v, %v", tenant, err)
	}
	for tenant, err := range c.Tenants(t.Context()) {
		t.Errorf("to be migrated: %v, %v", tenant, err)
	}
	_, err := c.Get(t.Context(), parse(t, name))
	mustBe(t, err, catalog.ErrUnknown)
	_, err = c.Lookup(t.Context(), idRef(name))
	mustBe(t, err, catalog.ErrUnknown)
	mustBe(t, placed(t, c, name), catalog.ErrUnknown)
	mustBe(t, c.Drop(t.Context(), parse(t, name), name), catalog.ErrUnknown)
	if s := serversNamed(t, c)[catalog.Main]; s.Tenants != 0 || s.Spares != 1 {
		t.Errorf("got %+v", s)
	}
}

// TestADamagedSpareIsNotTaken: somebody has dropped or marked it by hand.
func TestADamagedSpareIsNotTaken(t *testing.T) {
	t.Parallel()
	for name, k := range spareKinds {
		for what, damage := range map[string]string{
			"gone": "drop %[1]s %[2]s", "another mark": "comment on %[1]s %[2]s is 'mine'",
		} {
			t.Run(name+" "+what, func(t *testing.T) {
				t.Parallel()
				c, db, dsn := service(t, append(k.opts, catalog.WithSpares(k.kind, 1))...)
				stocked(t, c, 1)
				pool := admin(t, dsn)
				spare := one[string](t, pool, "select name from tenantry.spares")
				sql := fmt.Sprintf(damage, k.kind, spare)
				if k.kind == catalog.OwnSchema && what == "gone" {
					sql += " cascade"
				}
				execute(t, pool, sql)
				tenant := create(t, c, catalog.New{ID: unique("damaged"), Kind: k.kind})
				if isSpare(tenant) {
					t.Error("it has taken the spare")
				}
				works(t, db, tenant.ID.String())
				eventually(t, "another one is ready", func() bool {
					return one[int](t, pool, "select count(*)::int from tenantry.spares where state = 'ready' and name <> $1", spare) == 1
				})
				mustBeSpare(t, create(t, c, catalog.New{ID: unique("next"), Kind: k.kind}))
			})
		}
	}
}
