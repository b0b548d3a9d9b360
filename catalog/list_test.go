package catalog_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
)

// enter writes n tenants into the catalog, of which nothing is made: bulk00000 to
// the last, in all states in turn, with a label that says odd or even.
func enter(t testing.TB, pool *pgxpool.Pool, n int) {
	t.Helper()
	mustExec(t, pool, `insert into tenantry.tenants (id, name, state, kind, server, cluster, database, schema, labels)
		select 'bulk' || lpad(i::text, 5, '0'), 'Bulk', (array['active', 'suspended', 'provisioning', 'failed', 'deleting'])[i % 5 + 1],
			'schema', s.name, s.cluster, s.database, 'bulk_' || i,
			jsonb_build_object('parity', (array['even', 'odd'])[i % 2 + 1], 'plan', 'small')
		from generate_series(0, $1 - 1) i, tenantry.servers s where s.name = 'main'`, n)
	mustExec(t, pool, `insert into tenantry.hosts (name, tenant, is_primary) select id || h, id, h = '' from tenantry.tenants, unnest(array['', '.example']) h where id like 'bulk%'`)
}

// list returns the ids of what f selects.
func list(t testing.TB, c *catalog.Catalog, f catalog.Filter) (ids []string) {
	t.Helper()
	for tenant, err := range c.List(t.Context(), f) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, tenant.ID.String())
	}
	return ids
}

func TestListReadsPageByPage(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 499, 500, 501, 1000, 1201} {
		dsn := pgtest.Database(t)
		c := bare(t, dsn)
		enter(t, admin(t, dsn), n)
		ids := list(t, c, catalog.Filter{})
		if len(ids) != n || !slices.IsSorted(ids) || len(slices.Compact(ids)) != n {
			t.Errorf("got %d of %d: %v", len(ids), n, ids)
		}
	}
}

func TestListFilters(t *testing.T) {
	t.Parallel()
	other, dsn := pgtest.Database(t), pgtest.Database(t)
	c := bare(t, dsn, testKey(t, "k"))
	if err := c.AddServer(t.Context(), catalog.NewServer{Name: "b", ConnString: other}); err != nil {
		t.Fatal(err)
	}
	enter(t, admin(t, dsn), 2600)
	create(t, c, catalog.New{ID: "there", Server: "b", Labels: map[string]string{"plan": "large", `it's "@odd"`: "%_"}})
	for name, test := range map[string]struct {
		f    catalog.Filter
		want int
	}{
		"all":                  {catalog.Filter{}, 2601},
		"active":               {catalog.Filter{States: []catalog.State{catalog.Active}}, 521},
		"active and suspended": {catalog.Filter{States: []catalog.State{catalog.Active, catalog.Suspended}}, 1041},
		"another state":        {catalog.Filter{States: []catalog.State{"other"}}, 0},
		"main":                 {catalog.Filter{Server: catalog.Main}, 2600},
		"b":                    {catalog.Filter{Server: "b"}, 1},
		"nowhere":              {catalog.Filter{Server: "nowhere"}, 0},
		"odd":                  {catalog.Filter{Labels: map[string]string{"parity": "odd"}}, 1300},
		"odd and small":        {catalog.Filter{Labels: map[string]string{"parity": "odd", "plan": "small"}}, 1300},
		"odd and large":        {catalog.Filter{Labels: map[string]string{"parity": "odd", "plan": "large"}}, 0},
		"a hard label":         {catalog.Filter{Labels: map[string]string{`it's "@odd"`: "%_"}}, 1},
		"no labels":            {catalog.Filter{Labels: map[string]string{}}, 2601},
		"all at once":          {catalog.Filter{States: []catalog.State{catalog.Failed}, Server: catalog.Main, Labels: map[string]string{"parity": "even"}}, 260},
	} {
		if got := len(list(t, c, test.f)); got != test.want {
			t.Errorf("%s: got %d, want %d", name, got, test.want)
		}
	}
	n := 0
	for _, err := range c.Tenants(t.Context()) { // what migrations are for
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 1041 {
		t.Errorf("%d are for the migrator", n)
	}
}

func TestListYieldsWhatGetReturns(t *testing.T) {
	t.Parallel()
	c, _, _ := service(t)
	want := create(t, c, catalog.New{ID: "acme", Hosts: []string{"z", "a", "portal.acme.example"}, Labels: map[string]string{"plan": "small"}})
	for got, err := range c.List(t.Context(), catalog.Filter{}) {
		if err != nil || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) || got.Primary().Name != "z" {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
	got, err := c.Get(t.Context(), want.ID)
	if err != nil || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	got.Labels["plan"] = "large" // a copy
	if got, err = c.Get(t.Context(), want.ID); err != nil || got.Labels["plan"] != "small" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestListEndsEarly(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	c := bare(t, dsn)
	enter(t, admin(t, dsn), 1201)
	n := 0
	for _, err := range c.List(t.Context(), catalog.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Get(t.Context(), parse(t, "bulk00000")); err != nil { // the caller may use the catalog meanwhile
			t.Fatal(err)
		}
		if n++; n == 700 {
			break
		}
	}
	if n != 700 {
		t.Errorf("got %d", n)
	}
	n = 0
	for _, err := range c.Tenants(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		break
	}
	if n != 1 {
		t.Errorf("got %d", n)
	}
}

func TestListEndsWithItsContext(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	c := bare(t, dsn)
	enter(t, admin(t, dsn), 1201)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	good, bad := 0, 0
	for tenant, err := range c.List(ctx, catalog.Filter{}) {
		if err != nil {
			mustBe(t, err, context.Canceled)
			if !tenant.ID.IsZero() {
				t.Errorf("a tenant with the error: %v", tenant.ID)
			}
			bad++
			continue // it is the end all the same
		}
		if good++; good == 10 {
			cancel()
		}
	}
	if good != 500 || bad != 1 {
		t.Errorf("%d tenants and %d errors", good, bad)
	}
	bad = 0
	for _, err := range c.Tenants(ctx) {
		mustBe(t, err, context.Canceled)
		bad++
	}
	if bad != 1 {
		t.Errorf("%d errors", bad)
	}
}
