package catalog_test

import (
	"context"
	"testing"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/httpmw"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// measured is a catalog with a tenant in a schema of the master database, one in a
// database of its own, and a pool for the former.
func measured(b *testing.B) (c *catalog.Catalog, dsn string) {
	b.Helper()
	c, _, dsn = service(b)
	listening(b, c)
	create(b, c, catalog.New{ID: "small", Hosts: []string{"small", "portal.small.example"}})
	create(b, c, catalog.New{ID: "large", Kind: catalog.OwnDatabase})
	return c, dsn
}

func BenchmarkLookup(b *testing.B) {
	c, _ := measured(b)
	for name, ref := range map[string]httpmw.Ref{
		"id": idRef("small"), "subdomain": subdomain("small"), "host": domain("portal.small.example"),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Lookup(b.Context(), ref); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := c.Lookup(b.Context(), ref); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
	b.Run("unknown", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Lookup(b.Context(), subdomain("nobody")); err == nil {
				b.Fatal("it is known")
			}
		}
	})
}

func BenchmarkPlace(b *testing.B) {
	c, dsn := measured(b)
	base, strategy := admin(b, dsn), c.Strategy()
	for name, id := range map[string]string{"schema": "small", "database": "large"} {
		tenant := parse(b, id)
		place := func() error {
			p, err := strategy.Place(b.Context(), base, tenant)
			if err == nil && p.Lease != nil {
				p.Lease.Release()
			}
			return err
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := place(); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := place(); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// BenchmarkColdPlace opens the catalog's pools anew each time: reading the row, dialing the
// server, logging in.
func BenchmarkColdPlace(b *testing.B) {
	key := testKey(b, "k")
	c, _, dsn := service(b, catalog.WithKeys(catalog.FixedKeys{key}))
	tenant := create(b, c, catalog.New{ID: "large", Kind: catalog.OwnDatabase}).ID
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		cold, err := catalog.Open(b.Context(), dsn, catalog.WithKeys(catalog.FixedKeys{key}))
		if err != nil {
			b.Fatal(err)
		}
		listening(b, cold)
		b.StartTimer()
		err = query(b.Context(), cold.Strategy(), tenant)
		b.StopTimer()
		if err == nil {
			err = cold.Close()
		}
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkWarmPlace is the same with the pool open and a connection in it.
func BenchmarkWarmPlace(b *testing.B) {
	c, _ := measured(b)
	strategy, tenant := c.Strategy(), parse(b, "large")
	b.ReportAllocs()
	for b.Loop() {
		if err := query(b.Context(), strategy, tenant); err != nil {
			b.Fatal(err)
		}
	}
}

// query asks the tenant's database for nothing.
func query(ctx context.Context, s plugin.Strategy, t scope.Tenant) error {
	p, err := s.Place(ctx, nil, t)
	if err != nil {
		return err
	}
	defer p.Lease.Release()
	conn, err := p.Pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	_, err = conn.Exec(ctx, "select 1")
	return err
}

// TestLookupsFromMemoryDoNotAllocate holds what BenchmarkLookup shows.
func TestLookupsFromMemoryDoNotAllocate(t *testing.T) { //nolint:paralleltest // AllocsPerRun counts the whole process
	c, _, dsn := service(t)
	create(t, c, catalog.New{ID: "acme"})
	listening(t, c)
	base, strategy, tenant := admin(t, dsn), c.Strategy(), parse(t, "acme")
	for what, f := range map[string]func() error{
		"lookup": func() error { _, err := c.Lookup(t.Context(), subdomain("acme")); return err },
		"place":  func() error { _, err := strategy.Place(t.Context(), base, tenant); return err },
	} {
		n := testing.AllocsPerRun(1000, func() {
			if err := f(); err != nil {
				t.Fatal(err)
			}
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
}
