// Package metrics shows what the plugin, the catalog and the migrator count, to
// Prometheus and to OpenTelemetry.
//
//	collector, err := metrics.NewCollector(metrics.WithPlugin(p), metrics.WithCatalog(tenants), metrics.WithMigrator(m))
//	...
//	defer collector.Close() // before what it asks
//	prometheus.MustRegister(collector)
//
// or
//
//	registration, err := metrics.Register(otel.Meter("myservice"), metrics.WithPlugin(p))
//	...
//	defer func() { _ = registration.Unregister() }()
//
// Each of the sources may be left out. Both ways show the same metrics, from one
// table: tenantry.base_pool.wait_time in seconds for OpenTelemetry is
// tenantry_base_pool_wait_time_seconds_total for Prometheus, and the label state is
// the attribute tenantry.state.
//
// The number of time series doesn't depend on the number of tenants, unless
// [WithPlaces] or [WithServers] asks for more. Numbers are read when somebody
// scrapes, from memory; only the migrator asks its database, see [WithMigrator].
package metrics
