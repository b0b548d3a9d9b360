package doctor_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
)

// TestSparesAreInOrder, those that are ready and those that a tenant has taken.
func TestSparesAreInOrder(t *testing.T) {
	t.Parallel()
	s := bare(t, pgtest.DSN(t), catalog.WithSpares(catalog.OwnSchema, 2), catalog.WithSpares(catalog.OwnDatabase, 1))
	stocked := func() {
		t.Helper()
		limit := time.NewTimer(30 * time.Second)
		defer limit.Stop()
		again := time.NewTicker(10 * time.Millisecond)
		defer again.Stop()
		for {
			servers, err := s.catalog.Servers(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if servers[0].Spares == 3 {
				return
			}
			select {
			case <-limit.C:
				t.Fatalf("got %+v", servers)
			case <-again.C:
			}
		}
	}
	stocked()
	s.create(t, catalog.New{ID: "acme"})
	s.create(t, catalog.New{ID: "globex", Kind: catalog.OwnDatabase})
	stocked()
	if acme := s.tenant(t, "acme"); acme.Schema != acme.Role || acme.Schema[:6] != "spare_" {
		t.Errorf("acme has taken no spare: %+v", acme)
	}
	s.mustFind(t, nil)
}

// dropSpares drops what the catalog has made for nobody.
func (s *system) dropSpares(t testing.TB) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, s.admin)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, "select name from tenantry.spares")
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		s.plant(t, "drop database if exists "+n+" with (force)", "drop schema if exists "+n+" cascade", "drop owned by "+n, "drop role "+n)
	}
}
