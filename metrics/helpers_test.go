package metrics_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/tenantry/tenantry/metrics"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// Invoice is what a tenant has.
type Invoice struct {
	ID    int64
	Title string
}

func migrations() migrator.Migrations {
	return migrator.Migrations{{
		ID:      "1-invoices",
		Migrate: func(tx *gorm.DB) error { return tx.AutoMigrate(&Invoice{}) },
	}}
}

func tenant(t testing.TB, id string) scope.Tenant {
	t.Helper()
	parsed, err := scope.Parse(id)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func as(t testing.TB, id string) context.Context {
	t.Helper()
	return scope.With(t.Context(), tenant(t, id))
}

// open returns a database with the plugin, closed at the end of the test.
func open(t testing.TB, dsn string, strategy plugin.Strategy) (*gorm.DB, *plugin.Plugin) {
	t.Helper()
	db, err := gorm.Open(postgres.Open(dsn), &gorm.Config{Logger: logger.Discard})
	if err != nil {
		t.Fatal(err)
	}
	p := plugin.New(strategy)
	if err := db.Use(p); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return db, p
}

// admin returns a direct pool on dsn, past the plugin.
func admin(t testing.TB, dsn string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func execute(t testing.TB, pool *pgxpool.Pool, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		if _, err := pool.Exec(context.Background(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

// series are values by name and labels, as Prometheus writes them.
type series map[string]float64

func (s series) add(t testing.TB, name string, labels map[string]string, value float64) {
	t.Helper()
	var pairs []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		pairs = append(pairs, fmt.Sprintf("%s=%q", key, labels[key]))
	}
	if len(pairs) > 0 {
		name += "{" + strings.Join(pairs, ",") + "}"
	}
	if _, twice := s[name]; twice {
		t.Errorf("%s is there twice", name)
	}
	s[name] = value
}

// must compares those series that want names.
func (s series) must(t testing.TB, want series) {
	t.Helper()
	for name, value := range want {
		if got, ok := s[name]; !ok || got != value {
			t.Errorf("%s is %v (%t), want %v", name, got, ok, value)
		}
	}
}

// sameAs compares all series.
func (s series) sameAs(t testing.TB, other series) {
	t.Helper()
	s.must(t, other)
	other.must(t, s)
}

// collector returns a collector that is closed at the end of the test.
func collector(t testing.TB, opts ...metrics.Option) *metrics.Collector {
	t.Helper()
	c, err := metrics.NewCollector(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// scrape gathers what Prometheus sees.
func scrape(t testing.TB, c prometheus.Collector) series {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := series{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			all.add(t, f.GetName(), labels, valueOf(t, f, m))
		}
	}
	return all
}

func valueOf(t testing.TB, f *dto.MetricFamily, m *dto.Metric) float64 {
	t.Helper()
	switch f.GetType() {
	case dto.MetricType_COUNTER:
		return m.GetCounter().GetValue()
	case dto.MetricType_GAUGE:
		return m.GetGauge().GetValue()
	}
	t.Fatalf("%s is a %s", f.GetName(), f.GetType())
	return 0
}

// reader registers the metrics with an SDK of the test's own.
func reader(t testing.TB, opts ...metrics.Option) *metric.ManualReader {
	t.Helper()
	r, provider := newReader()
	registration, err := metrics.Register(provider.Meter("test"), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := registration.Unregister(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func newReader() (*metric.ManualReader, *metric.MeterProvider) {
	r := metric.NewManualReader()
	return r, metric.NewMeterProvider(metric.WithReader(r))
}

// collect reads what OpenTelemetry sees, under the names that its specification
// gives to them for Prometheus.
func collect(t testing.TB, ctx context.Context, r metric.Reader) series {
	t.Helper()
	var found metricdata.ResourceMetrics
	if err := r.Collect(ctx, &found); err != nil {
		t.Fatal(err)
	}
	all := series{}
	for _, s := range found.ScopeMetrics {
		for _, m := range s.Metrics {
			points(t, all, m)
		}
	}
	return all
}

func points(t testing.TB, all series, m metricdata.Metrics) {
	t.Helper()
	if m.Description == "" {
		t.Errorf("%s has no description", m.Name)
	}
	name := strings.ReplaceAll(m.Name, ".", "_")
	if m.Unit == "s" {
		name += "_seconds"
	}
	switch d := m.Data.(type) {
	case metricdata.Sum[int64]:
		pointsOf(t, all, total(name, d.IsMonotonic), d.DataPoints)
	case metricdata.Sum[float64]:
		pointsOf(t, all, total(name, d.IsMonotonic), d.DataPoints)
	case metricdata.Gauge[int64]:
		pointsOf(t, all, name, d.DataPoints)
	case metricdata.Gauge[float64]:
		pointsOf(t, all, name, d.DataPoints)
	default:
		t.Errorf("%s is a %T", m.Name, d)
	}
}

func total(name string, monotonic bool) string {
	if monotonic {
		return name + "_total"
	}
	return name
}

func pointsOf[N int64 | float64](t testing.TB, all series, name string, points []metricdata.DataPoint[N]) {
	t.Helper()
	for _, p := range points {
		labels := map[string]string{}
		for i := p.Attributes.Iter(); i.Next(); {
			a := i.Attribute()
			if a.Value.Type() != attribute.STRING {
				t.Errorf("%s has the attribute %s of type %s", name, a.Key, a.Value.Type())
			}
			labels[strings.TrimPrefix(string(a.Key), "tenantry.")] = a.Value.AsString()
		}
		all.add(t, name, labels, float64(p.Value))
	}
}

// unique returns an id that no other test has: databases are the whole server's.
func unique(base string) string { return base + strings.ToLower(rand.Text()[:8]) }

// eventually waits until f reports true.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for !f() {
		select {
		case <-deadline.C:
			t.Fatalf("it did not happen in time: %s", what)
		case <-again.C:
		}
	}
}
