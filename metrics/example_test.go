package metrics_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/metrics"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// The plugin alone, as Prometheus sees it.
func ExampleNewCollector() {
	p := plugin.New(plugin.BySchema()) // and db.Use(p)

	collector, err := metrics.NewCollector(metrics.WithPlugin(p))
	if err != nil {
		fmt.Println(err)
		return
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector)
	handler := promhttp.HandlerFor(registry, promhttp.HandlerOpts{}) // serve it as /metrics

	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for line := range strings.Lines(answer.Body.String()) {
		if strings.HasPrefix(line, "tenantry_") {
			fmt.Print(line)
		}
	}
	// Output:
	// tenantry_errors_total 0
	// tenantry_refusals_total{reason="no_scope"} 0
	// tenantry_refusals_total{reason="other_tenant"} 0
	// tenantry_statements_total 0
	// tenantry_transactions_total 0
}

// A service with everything: plugin, catalog and migrator.
func ExampleNewCollector_service() {
	measure := func(ctx context.Context, dsn string, migrations migrator.Migrations) error {
		db, err := gorm.Open(postgres.Open(dsn), &gorm.Config{})
		if err != nil {
			return err
		}
		tenants, err := catalog.Open(ctx, dsn, catalog.WithMigrations(migrations))
		if err != nil {
			return err
		}
		defer tenants.Close()
		p := plugin.New(tenants.Strategy())
		if err := db.Use(p); err != nil {
			return err
		}
		defer p.Close()

		collector, err := metrics.NewCollector(
			metrics.WithPlugin(p),
			metrics.WithCatalog(tenants),
			metrics.WithMigrator(migrator.New(db, tenants, migrations)),
			metrics.WithServers(), // a handful of servers: show each
		)
		if err != nil {
			return err
		}
		defer collector.Close() // before what it asks is closed
		prometheus.MustRegister(collector)
		http.Handle("/metrics", promhttp.Handler())
		return serve(ctx)
	}
	_ = measure
}

func serve(ctx context.Context) error { return ctx.Err() }

// The plugin alone, as OpenTelemetry sees it.
func ExampleRegister() {
	p := plugin.New(plugin.BySchema()) // and db.Use(p)

	reader := metric.NewManualReader() // or a periodic one, with an exporter
	provider := metric.NewMeterProvider(metric.WithReader(reader))
	registration, err := metrics.Register(provider.Meter("myservice"), metrics.WithPlugin(p))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = registration.Unregister() }()

	var found metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &found); err != nil {
		fmt.Println(err)
		return
	}
	for _, m := range found.ScopeMetrics[0].Metrics {
		fmt.Println(m.Name, m.Unit)
	}
	// Output:
	// tenantry.statements {statement}
	// tenantry.transactions {transaction}
	// tenantry.errors {error}
	// tenantry.refusals {refusal}
}

// A service with everything, as OpenTelemetry sees it.
func ExampleRegister_service() {
	measure := func(ctx context.Context, provider *metric.MeterProvider, p *plugin.Plugin, tenants *catalog.Catalog, m *migrator.Migrator) error {
		registration, err := metrics.Register(provider.Meter("myservice"),
			metrics.WithPlugin(p), metrics.WithCatalog(tenants), metrics.WithMigrator(m))
		if err != nil {
			return err
		}
		defer func() { _ = registration.Unregister() }() // before what it asks is closed
		return serve(ctx)
	}
	_ = measure
}

// The tenant in the service's own log, and in GORM's of slow statements and errors.
func Example_logs() {
	acme, err := scope.Parse("acme")
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := scope.With(context.Background(), acme)
	options := &slog.HandlerOptions{ReplaceAttr: withoutTime}

	log := slog.New(scope.LogHandler(slog.NewTextHandler(os.Stdout, options)))
	config := &gorm.Config{Logger: logger.NewSlogLogger(log, logger.Config{
		LogLevel:             logger.Warn,
		SlowThreshold:        200 * time.Millisecond,
		ParameterizedQueries: true, // without the tenants' data
	})}
	log.InfoContext(ctx, "invoice sent", "number", 1042)

	config.Logger.Warn(ctx, "GORM says") // the rest is its own
	// Output:
	// level=INFO msg="invoice sent" number=1042 tenant=acme
	// level=WARN msg="GORM says" data=[] tenant=acme
}

func withoutTime(groups []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey && len(groups) == 0 {
		return slog.Attr{}
	}
	return a
}
