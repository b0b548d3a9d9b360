package metrics_test

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/metric"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/metrics"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
)

func TestWrongOptionsAreRefused(t *testing.T) {
	t.Parallel()
	some := metrics.WithPlugin(plugin.New(plugin.BySchema()))
	_, provider := newReader()
	for say, opts := range map[string][]metrics.Option{
		"there is nothing to measure":                   nil,
		"an option is nil":                              {some, nil},
		"WithPlugin: the plugin is nil":                 {metrics.WithPlugin(nil)},
		"WithCatalog: the catalog is nil":               {metrics.WithCatalog((*catalog.Catalog)(nil))},
		"WithMigrator: the migrator is nil":             {metrics.WithMigrator((*migrator.Migrator)(nil))},
		"WithLogger: the logger is nil":                 {some, metrics.WithLogger(nil)},
		"WithMaxAge: -1s is less than nothing":          {some, metrics.WithMaxAge(-time.Second)},
		"WithPatience: -1s is less than nothing":        {some, metrics.WithPatience(-time.Second)},
		`"two words" is no name of a label`:             {some, metrics.WithLabel("two words", "")},
		`"__x" is no name of a label`:                   {some, metrics.WithLabel("__x", "")},
		`the metrics have a label "state" of their own`: {some, metrics.WithLabel("state", "x")},
		`the label "db" is given twice`:                 {some, metrics.WithLabel("db", "x"), metrics.WithLabel("db", "y")},
		`WithLabel: the value of "db" is not UTF-8`:     {some, metrics.WithLabel("db", "\xff")},
	} {
		if _, err := metrics.NewCollector(opts...); err == nil || !strings.Contains(err.Error(), say) || !strings.HasPrefix(err.Error(), "metrics: ") {
			t.Errorf("want an error that says %q, got %v", say, err)
		}
		if _, err := metrics.Register(provider.Meter("test"), opts...); err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("want an error that says %q, got %v", say, err)
		}
	}
	if _, err := metrics.Register(metric.Meter(nil), some); err == nil || !strings.Contains(err.Error(), "the meter is nil") {
		t.Errorf("got %v", err)
	}
}

func TestTwoPluginsAreToldApartByALabel(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewPedanticRegistry()
	r, provider := newReader()
	for _, name := range []string{"eu", "us"} {
		opts := []metrics.Option{metrics.WithPlugin(plugin.New(plugin.BySchema())), metrics.WithLabel("region", name)}
		if err := registry.Register(collector(t, opts...)); err != nil {
			t.Fatal(err)
		}
		if _, err := metrics.Register(provider.Meter("test"), opts...); err != nil {
			t.Fatal(err)
		}
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "tenantry_statements_total" && len(f.GetMetric()) != 2 {
			t.Errorf("got %v", f)
		}
	}
	collect(t, t.Context(), r).must(t, series{`tenantry_statements_total{region="eu"}`: 0, `tenantry_statements_total{region="us"}`: 0})
}
