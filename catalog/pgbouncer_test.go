//go:build integration

package catalog_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/pgbouncer"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
)

// bounced returns a database, and a connection string of it through PgBouncer in
// transaction mode.
func bounced(t *testing.T) (direct, through string) {
	t.Helper()
	direct = pgtest.Database(t)
	b := pgbouncer.Start(t, pgbouncer.Config{Target: direct, PoolSize: 12})
	return direct, b.DSN(direct)
}

func TestThroughPgBouncerTheTTLCounts(t *testing.T) {
	t.Parallel()
	direct, through := bounced(t)
	var logged record
	key := testKey(t, "k")
	a := open(t, direct, catalog.WithKeys(catalog.FixedKeys{key}))
	b, err := catalog.Open(t.Context(), through, catalog.WithKeys(catalog.FixedKeys{key}),
		catalog.WithTTL(100*time.Millisecond), catalog.WithLogger(logged.logger()))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	eventually(t, "it finds out", func() bool { return strings.Contains(logged.String(), "no notifications") })
	if b.Stats().Listening {
		t.Error("it listens")
	}
	tenant := create(t, a, catalog.New{ID: "acme"})
	sees(t, b, subdomain("acme"), nil)
	if err := a.Suspend(t.Context(), tenant.ID); err != nil {
		t.Fatal(err)
	}
	sees(t, b, subdomain("acme"), catalog.ErrSuspended)
	sees(t, b, subdomain("globex"), catalog.ErrUnknown)
	create(t, a, catalog.New{ID: "globex"})
	sees(t, b, subdomain("globex"), nil)
	if strings.Contains(logged.String(), "level=WARN") {
		t.Error(logged.String())
	}
}

// TestThroughPgBouncerEverythingWorks has two catalogs work through the pooler at
// the same time: what a statement leaves on a connection, another one finds.
func TestThroughPgBouncerEverythingWorks(t *testing.T) {
	t.Parallel()
	_, through := bounced(t)
	key := testKey(t, "k")
	catalogs := []*catalog.Catalog{
		open(t, through, catalog.WithKeys(catalog.FixedKeys{key}), catalog.WithTTL(time.Millisecond)),
		bare(t, through, key),
	}
	var wg sync.WaitGroup
	for i := range 8 {
		c := catalogs[i%2]
		wg.Go(func() {
			id := fmt.Sprintf("t%d", i)
			labels := map[string]string{"mine": id}
			if _, err := c.Create(t.Context(), catalog.New{ID: id, Labels: labels}); err != nil {
				t.Error(err)
				return
			}
			for j := range 40 {
				host := fmt.Sprintf("%s-%d", id, j)
				if err := c.Rename(t.Context(), parse(t, id), host, host); err != nil {
					t.Error(err)
				}
				if got, err := c.Get(t.Context(), parse(t, id)); err != nil || got.Name != host || got.Labels["mine"] != id || got.Primary().Name != host {
					t.Errorf("%s: got %+v, %v", host, got, err)
				}
				if got, err := c.Lookup(t.Context(), subdomain(host)); err != nil || got.String() != id {
					t.Errorf("%s: got %v, %v", host, got, err)
				}
				if _, err := c.Lookup(t.Context(), subdomain("no-"+host)); !errors.Is(err, catalog.ErrUnknown) {
					t.Error(err)
				}
				if got := list(t, c, catalog.Filter{Labels: labels}); len(got) != 1 || got[0] != id {
					t.Errorf("got %v", got)
				}
				if _, err := c.Servers(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// TestThroughPgBouncerSparesAreTaken while others are made.
func TestThroughPgBouncerSparesAreTaken(t *testing.T) {
	t.Parallel()
	direct, through := bounced(t)
	ring := catalog.WithKeys(catalog.FixedKeys{testKey(t, "k")})
	last, c := open(t, direct, ring), brief(t, through, ring, catalog.WithSpares(catalog.OwnSchema, 4), catalog.WithRoles())
	stocked(t, c, 4)
	db := use(t, direct, last, nil)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			tenant, err := c.Create(t.Context(), catalog.New{ID: unique("pooled")})
			if err != nil {
				t.Error(err)
				return
			}
			mustBeSpare(t, tenant)
			works(t, db, tenant.ID.String())
		})
	}
	wg.Wait()
	stocked(t, c, 4)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
