package metrics_test

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/metrics"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// places is where tenants live.
type places map[string]plugin.Database

func (p places) find(_ context.Context, t scope.Tenant) (plugin.Database, error) {
	d, ok := p[t.String()]
	if !ok {
		return d, fmt.Errorf("nobody is called %q", t)
	}
	return d, nil
}

// label returns a dsn's place as labels.
func label(t testing.TB, dsn string) string {
	t.Helper()
	return fmt.Sprintf(`{database=%q,server=%q,user=%q}`, nameOf(t, dsn), serverOf(t, dsn), parse(t, dsn).User)
}

func nameOf(t testing.TB, dsn string) string {
	t.Helper()
	return parse(t, dsn).Database
}

func parse(t testing.TB, dsn string) *pgx.ConnConfig {
	t.Helper()
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func serverOf(t testing.TB, dsn string) string {
	t.Helper()
	cfg := parse(t, dsn)
	return net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port)))
}

func TestThePoolsOfTwoServersAreShown(t *testing.T) {
	t.Parallel()
	a, b := pgtest.Database(t), pgtest.Database(t)
	far := pgtest.DatabaseOn(t, pgtest.Server(t).DSN())
	where := places{"a": {Server: a}, "b": {Server: b}, "far": {Server: far}, "gone": {Server: far, Name: "nosuch"}}
	db, p := open(t, pgtest.DSN(t), plugin.ByDatabase(where.find))
	both, each := collector(t, metrics.WithPlugin(p)), collector(t, metrics.WithPlugin(p), metrics.WithServers(), metrics.WithPlaces())
	scrape(t, both).must(t, series{"tenantry_pools_connections": 0, "tenantry_pools_dial_failures_total": 0})

	for _, id := range []string{"a", "b", "far"} {
		if err := db.WithContext(as(t, id)).Exec("select 1").Error; err != nil {
			t.Fatal(err)
		}
	}
	if err := db.WithContext(as(t, "gone")).Exec("select 1").Error; err == nil {
		t.Fatal("no error")
	}
	tx := db.WithContext(as(t, "far")).Begin()
	if tx.Error != nil {
		t.Fatal(tx.Error)
	}
	defer tx.Rollback()

	var dials uint64
	for _, s := range p.Stats().Servers {
		dials += s.Dials
	}
	seen := scrape(t, both)
	seen.must(t, series{
		"tenantry_pools_connections":         3,
		"tenantry_pools_leases":              1,
		"tenantry_pools_waiting":             0,
		"tenantry_pools_places":              3,
		"tenantry_pools_waits_total":         0,
		"tenantry_pools_evictions_total":     0,
		"tenantry_pools_dials_total":         float64(dials),
		"tenantry_pools_dial_failures_total": 1,
	})
	collect(t, t.Context(), reader(t, metrics.WithPlugin(p))).sameAs(t, seen)

	near, away := fmt.Sprintf("{server=%q}", serverOf(t, a)), fmt.Sprintf("{server=%q}", serverOf(t, far))
	seen = scrape(t, each)
	seen.must(t, series{
		"tenantry_pools_connections" + near:            2,
		"tenantry_pools_connections" + away:            1,
		"tenantry_pools_leases" + near:                 0,
		"tenantry_pools_leases" + away:                 1,
		"tenantry_pools_dial_failures_total" + near:    0,
		"tenantry_pools_dial_failures_total" + away:    1,
		"tenantry_place_connections" + label(t, a):     1,
		"tenantry_place_connections" + label(t, b):     1,
		"tenantry_place_leases" + label(t, far):        1,
		"tenantry_place_dials" + label(t, far):         1,
		"tenantry_place_waits" + label(t, far):         0,
		"tenantry_place_evictions" + label(t, far):     0,
		"tenantry_place_waiting" + label(t, far):       0,
		"tenantry_place_dial_failures" + label(t, far): 0,
	})
	failed := slices.DeleteFunc(slices.Collect(maps.Keys(seen)), func(name string) bool {
		return !strings.HasPrefix(name, "tenantry_place_dial_failures{") || !strings.Contains(name, `database="nosuch"`)
	})
	if len(failed) != 1 || seen[failed[0]] != 1 {
		t.Errorf("the place that could not be opened is shown as %v", failed)
	}
	collect(t, t.Context(), reader(t, metrics.WithPlugin(p), metrics.WithServers(), metrics.WithPlaces())).sameAs(t, seen)
}

func TestEvictionsAndWaitsAreShown(t *testing.T) {
	t.Parallel()
	a, b := pgtest.Database(t), pgtest.Database(t)
	db, p := open(t, pgtest.DSN(t), plugin.ByDatabase(places{"a": {Server: a}, "b": {Server: b}}.find, plugin.WithBudget(1)))
	prom := collector(t, metrics.WithPlugin(p))
	tx := db.WithContext(as(t, "a")).Begin()
	if tx.Error != nil {
		t.Fatal(tx.Error)
	}
	done := make(chan error)
	other := db.WithContext(as(t, "b"))
	go func() { done <- other.Exec("select 1").Error }()
	eventually(t, "the other tenant waits", func() bool { return scrape(t, prom)["tenantry_pools_waiting"] == 1 })
	scrape(t, prom).must(t, series{"tenantry_pools_waits_total": 1, "tenantry_pools_leases": 1, "tenantry_pools_evictions_total": 0})
	if err := tx.Rollback().Error; err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	scrape(t, prom).must(t, series{"tenantry_pools_waits_total": 1, "tenantry_pools_waiting": 0, "tenantry_pools_evictions_total": 1})
}

// While a statement runs under the old configuration, the place has two pools, and
// two series of the same labels would cost the whole scrape.
func TestAPlaceWithTwoPoolsIsShownOnce(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	where := places{"a": {Server: dsn}}
	db, p := open(t, pgtest.DSN(t), plugin.ByDatabase(where.find))
	tx := db.WithContext(as(t, "a")).Begin()
	if tx.Error != nil {
		t.Fatal(tx.Error)
	}
	defer tx.Rollback()
	where["a"] = plugin.Database{Server: dsn, Name: nameOf(t, dsn)}
	if err := db.WithContext(as(t, "a")).Exec("select 1").Error; err != nil {
		t.Fatal(err)
	}
	if n := len(p.Stats().Servers[0].Places); n != 2 {
		t.Fatalf("the place has %d pools, the test needs 2", n)
	}
	seen := scrape(t, collector(t, metrics.WithPlugin(p), metrics.WithPlaces()))
	seen.must(t, series{"tenantry_place_connections" + label(t, dsn): 2, "tenantry_place_leases" + label(t, dsn): 1})
	collect(t, t.Context(), reader(t, metrics.WithPlugin(p), metrics.WithPlaces())).sameAs(t, seen)
}

// fixed is a plugin that says what a test wants.
type fixed plugin.Stats

func (f fixed) Stats() plugin.Stats { return plugin.Stats(f) }

// A value that is not UTF-8 would cost the whole scrape.
func TestNamesThatAreNotUTF8AreMended(t *testing.T) {
	t.Parallel()
	p := fixed{Servers: []plugin.ServerStats{{Server: "db", Open: 3, Places: []plugin.PlaceStats{
		{Database: "\xfe", User: "u", Open: 1},
		{Database: "\xff", User: "u", Open: 2},
	}}}}
	seen := scrape(t, collector(t, metrics.WithPlugin(p), metrics.WithPlaces(), metrics.WithServers()))
	seen.must(t, series{"tenantry_place_connections{database=\"\uFFFD\",server=\"db\",user=\"u\"}": 3})
	collect(t, t.Context(), reader(t, metrics.WithPlugin(p), metrics.WithPlaces(), metrics.WithServers())).sameAs(t, seen)
}
