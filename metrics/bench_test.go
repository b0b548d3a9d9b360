package metrics_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/metrics"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
)

const manyTenants = 10_000

// crowded is a plugin with a pool for each of many tenants.
type crowded []plugin.ServerStats

func (c crowded) Stats() plugin.Stats { return plugin.Stats{Servers: c} }

func crowd(servers int) crowded {
	c := make(crowded, servers)
	for i := range c {
		c[i] = plugin.ServerStats{Server: fmt.Sprintf("db%d:5432", i), Open: manyTenants / servers}
		for j := range manyTenants / servers {
			name := fmt.Sprintf("tenant_%d_%d", i, j)
			c[i].Places = append(c[i].Places, plugin.PlaceStats{Database: name, User: name, Open: 1})
		}
	}
	return c
}

// BenchmarkScrape is a scrape of 10,000 tenants with a database of their own that
// are all open at the same time, on 10 servers: by default, with a series for each
// server, and with seven for each place.
func BenchmarkScrape(b *testing.B) {
	tenants := metrics.WithPlugin(crowd(10))
	for name, opts := range map[string][]metrics.Option{
		"default": {tenants},
		"servers": {tenants, metrics.WithServers()},
		"places":  {tenants, metrics.WithPlaces()},
	} {
		b.Run(name, func(b *testing.B) {
			registry := prometheus.NewRegistry()
			registry.MustRegister(collector(b, opts...))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := registry.Gather(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkMigrator is a scrape that asks the ledger of 10,000 tenants, as one in
// 30 seconds does. The tenants are in the ledger and not in the database: it is the
// ledger that is asked.
func BenchmarkMigrator(b *testing.B) {
	dsn := pgtest.Database(b)
	db, _ := open(b, dsn, plugin.BySchema())
	list := make(migrator.List, manyTenants)
	for i := range list {
		list[i] = tenant(b, fmt.Sprintf("t%d", i))
	}
	m := migrator.New(db, list, migrations())
	if _, err := m.Status(context.Background(), migrator.Selection{}); err != nil {
		b.Fatal(err)
	}
	prom := collector(b, metrics.WithMigrator(m), metrics.WithMaxAge(0))
	b.ReportAllocs()
	for b.Loop() {
		scrape(b, prom).must(b, series{pendings: manyTenants, errorCount: 0})
	}
}
