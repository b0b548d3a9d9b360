package doctor_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/doctor"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
)

// observer sees the statements of pools.
type observer struct {
	count  atomic.Int64
	before func(sql string)
}

func (o *observer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, q pgx.TraceQueryStartData) context.Context {
	o.count.Add(1)
	if o.before != nil {
		o.before(q.SQL)
	}
	return ctx
}

func (o *observer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (o *observer) watch(c *pgxpool.Config) error {
	c.ConnConfig.Tracer = o
	return nil
}

// TestTenantsThatAreMadeAndDroppedMeanwhileAreInOrder drops acme before the server is
// read, and makes hooli, which is gone when the catalog is read once more.
func TestTenantsThatAreMadeAndDroppedMeanwhileAreInOrder(t *testing.T) {
	t.Parallel()
	s := withCatalog(t, pgtest.DSN(t))
	s.create(t, catalog.New{ID: "initech"})
	acme := s.tenant(t, "acme")
	var made, dropped bool
	s.open(t, s.servingDSN, s.catalog.Strategy(), plugin.WithPoolConfig((&observer{before: func(sql string) {
		switch {
		case !made && strings.Contains(sql, "pg_namespace where not"):
			made = true
			if err := s.catalog.Drop(t.Context(), acme.ID, "acme"); err != nil {
				t.Error(err)
			}
			s.create(t, catalog.New{ID: "hooli"})
		case !dropped && strings.Contains(sql, "max_locks_per_transaction"):
			dropped = true
			if err := s.catalog.Drop(t.Context(), s.tenant(t, "hooli").ID, "hooli"); err != nil {
				t.Error(err)
			}
		}
	}}).watch))
	s.mustFind(t, nil)
	if !made || !dropped {
		t.Error("nothing has happened meanwhile")
	}
}

func TestTheCostDoesNotGrowWithTheTenants(t *testing.T) {
	t.Parallel()
	o := &observer{}
	other := on(t, pgtest.DSN(t))
	s := bare(t, pgtest.DSN(t), catalog.WithPools(plugin.WithDatabaseConfig(o.watch)))
	s.open(t, s.servingDSN, s.catalog.Strategy(), plugin.WithPoolConfig(o.watch))
	s.add(t, other)
	var counts []int64
	for _, ids := range [][]string{{"a", "b", "c"}, {"d", "e", "f"}} {
		s.create(t, catalog.New{ID: ids[0], Server: catalog.Main})
		s.create(t, catalog.New{ID: ids[1], Server: "eu"})
		s.create(t, catalog.New{ID: ids[2], Server: "eu", Kind: catalog.OwnDatabase})
		s.mustFind(t, nil) // connects
		before := o.count.Load()
		s.mustFind(t, nil)
		counts = append(counts, o.count.Load()-before)
	}
	t.Logf("%d statements", counts)
	if counts[0] == 0 || counts[0] != counts[1] {
		t.Errorf("%d statements with 3 tenants, %d with 6", counts[0], counts[1])
	}
}

func TestAFreshCatalogHasNoFindings(t *testing.T) {
	t.Parallel()
	s := bare(t, pgtest.DSN(t))
	mustHaveNone(t, s)
}

func TestTemplatesAreInOrder(t *testing.T) {
	t.Parallel()
	s := bare(t, pgtest.DSN(t))
	c, err := catalog.Open(t.Context(), s.dsn, catalog.WithKeys(s.keys), catalog.WithMigrations(migrations()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Create(t.Context(), catalog.New{ID: "globex", Kind: catalog.OwnDatabase}); err != nil {
		t.Fatal(err)
	}
	mustHaveNone(t, s)
}

func TestWhatIsAcceptedIsToldAsAFact(t *testing.T) {
	t.Parallel()
	s := withCatalog(t, pgtest.DSN(t))
	s.plant(t, "create schema tenant_gone")
	mustSay(t, s.mustFind(t, []string{"orphan"}, doctor.WithAccepted("twin-table")), doctor.Warning)
	mustSay(t, s.mustFind(t, []string{"orphan"}, doctor.WithAccepted("twin-table", "orphan")), doctor.Info, "It is accepted", "schema tenant_gone")
}
