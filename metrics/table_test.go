package metrics_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/httpmw"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/metrics"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// service is a catalog, with GORM on it and a migrator.
type service struct {
	catalog  *catalog.Catalog
	db       *gorm.DB
	plugin   *plugin.Plugin
	migrator *migrator.Migrator
}

func newService(t testing.TB) service {
	t.Helper()
	dsn := pgtest.Database(t)
	key, err := catalog.NewKey("k1", make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	c, err := catalog.Open(t.Context(), dsn, catalog.WithKeys(catalog.FixedKeys{key}), catalog.WithMigrations(migrations()), catalog.WithoutTemplates())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	db, p := open(t, dsn, c.Strategy())
	return service{c, db, p, migrator.New(db, c, migrations())}
}

func (s service) options(more ...metrics.Option) []metrics.Option {
	return append(more, metrics.WithPlugin(s.plugin), metrics.WithCatalog(s.catalog), metrics.WithMigrator(s.migrator), metrics.WithMaxAge(0))
}

// signUp makes a tenant, which writes an invoice.
func (s service) signUp(t testing.TB, id string, kind catalog.Kind) {
	t.Helper()
	made, err := s.catalog.Create(t.Context(), catalog.New{ID: id, Kind: kind})
	if err != nil {
		t.Fatal(err)
	}
	if kind == catalog.OwnDatabase { // it and its login outlive the catalog
		t.Cleanup(func() {
			if err := s.catalog.Drop(context.Background(), made.ID, id); err != nil {
				t.Error(err)
			}
		})
	}
	if err := s.db.WithContext(scope.With(t.Context(), made.ID)).Create(&Invoice{Title: id}).Error; err != nil {
		t.Fatal(err)
	}
}

func TestFiftyTenantsAddNoSeries(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.signUp(t, unique("schema"), catalog.OwnSchema)
	s.signUp(t, unique("database"), catalog.OwnDatabase)
	prom, otel := collector(t, s.options()...), reader(t, s.options()...)
	before, beforeOTel := scrape(t, prom), collect(t, t.Context(), otel)
	for i := range 25 {
		s.signUp(t, unique(fmt.Sprintf("s%d-", i)), catalog.OwnSchema)
		s.signUp(t, unique(fmt.Sprintf("d%d-", i)), catalog.OwnDatabase)
	}
	after := scrape(t, prom)
	after.must(t, series{currents: 52, "tenantry_migrator_status_errors_total": 0})
	if got := after["tenantry_pools_dials_total"]; got < 26 {
		t.Errorf("%v connections to 26 databases were opened", got)
	}
	mustHaveNames(t, after, before)
	mustHaveNames(t, collect(t, t.Context(), otel), beforeOTel)
	mustHaveNames(t, beforeOTel, before)

	places := scrape(t, collector(t, s.options(metrics.WithPlaces())...))
	if len(places) < len(before)+25 {
		t.Errorf("%d series with places, %d without", len(places), len(before))
	}
}

func mustHaveNames(t *testing.T, got, want series) {
	t.Helper()
	if names, wanted := slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)); !slices.Equal(names, wanted) {
		t.Errorf("got the series\n%s\nwant\n%s", strings.Join(names, "\n"), strings.Join(wanted, "\n"))
	}
}

func TestTheCatalogsCountsAreShown(t *testing.T) {
	t.Parallel()
	s := newService(t)
	id := unique("acme")
	s.signUp(t, id, catalog.OwnSchema)
	prom, otel := collector(t, metrics.WithCatalog(s.catalog)), reader(t, metrics.WithCatalog(s.catalog))
	eventually(t, "the catalog listens", func() bool { return s.catalog.Stats().Listening })
	lookUp := func(id string) {
		_, _ = s.catalog.Lookup(t.Context(), httpmw.Ref{Kind: httpmw.KindID, Value: id}) // the counts say how it went
	}
	for range 3 {
		lookUp(id)
	}
	for range 5 { // asks once
		lookUp("nobody")
	}
	seen, stats := scrape(t, prom), s.catalog.Stats()
	if stats.Hits < 2 || stats.Unknown != 4 || stats.Misses == 0 || stats.Known == 0 {
		t.Errorf("nothing to compare with: %+v", stats)
	}
	seen.must(t, series{
		`tenantry_catalog_lookups_total{result="hit"}`:     float64(stats.Hits),
		`tenantry_catalog_lookups_total{result="unknown"}`: 4,
		`tenantry_catalog_lookups_total{result="miss"}`:    float64(stats.Misses),
		"tenantry_catalog_names":                           float64(stats.Known),
		"tenantry_catalog_listening":                       1,
	})
	if len(seen) != 5 {
		t.Errorf("got %v", seen)
	}
	collect(t, t.Context(), otel).sameAs(t, seen)
	if err := s.catalog.Close(); err != nil {
		t.Fatal(err)
	}
	scrape(t, prom).must(t, series{"tenantry_catalog_listening": 0})
}

func TestTheMetricsFollowPrometheussConventions(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.signUp(t, unique("database"), catalog.OwnDatabase)
	c := collector(t, s.options(metrics.WithServers(), metrics.WithPlaces(), metrics.WithLabel("db", "main"))...)
	problems, err := testutil.CollectAndLint(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	described := make(chan *prometheus.Desc, 100)
	c.Describe(described)
	close(described)
	shown := map[string]bool{}
	for name := range scrape(t, c) {
		name, labels, _ := strings.Cut(name, "{")
		shown[name] = true
		if !strings.Contains(labels, `db="main"`) {
			t.Errorf("%s has the labels %s", name, labels)
		}
	}
	if len(shown) != len(described) || len(shown) < 30 {
		t.Errorf("%d metrics are described, and shown are %v", len(described), slices.Sorted(maps.Keys(shown)))
	}
}
