//go:build integration

package doctor_test

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/doctor"
	"github.com/tenantry/tenantry/internal/pgbouncer"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
)

// behindPooler returns the ids that these tests can't plant.
func behindPooler() []string { return nil }

// behind returns a connection string through PgBouncer.
func behind(t *testing.T, dsn string, extra ...string) string {
	t.Helper()
	return pgbouncer.Start(t, pgbouncer.Config{Target: dsn, PoolSize: 2, Extra: extra}).DSN(dsn)
}

func TestAPoolerIsFound(t *testing.T) {
	t.Parallel()
	s := withCatalog(t, pgtest.DSN(t))
	s.plant(t, "create table public.plans (id bigint)")
	s.open(t, behind(t, s.servingDSN), s.catalog.Strategy())
	f := s.mustFind(t, []string{"base-path", "pooler"})
	mustSay(t, f, doctor.Problem, "schema public", "alter role "+s.serving+" in database ")
}

func TestBehindAPoolerTheServersPathMayBeEmpty(t *testing.T) {
	t.Parallel()
	s := withCatalog(t, pgtest.DSN(t))
	s.plant(t, "create table public.plans (id bigint)", "alter role "+s.serving+" set search_path = ''")
	s.open(t, behind(t, s.servingDSN), s.catalog.Strategy(), plugin.WithMaxConns(100))
	mustSay(t, s.mustFind(t, []string{"pooler"}), doctor.Info, "WithDirect", "catalog.Open")
}

func TestACatalogThatHearsNothingIsAWarning(t *testing.T) {
	t.Parallel()
	s := withCatalog(t, pgtest.DSN(t))
	deaf, err := catalog.Open(t.Context(), behind(t, s.dsn), catalog.WithKeys(s.keys), catalog.WithServingRole(s.serving), catalog.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	hearing := s.catalog
	s.catalog = deaf
	defer func() { s.catalog = hearing }()
	mustSay(t, s.mustFind(t, []string{"catalog-notifications"}), doctor.Warning, "past the pooler")
}

func TestAPoolerWithoutTransactionsIsAProblem(t *testing.T) {
	t.Parallel()
	s := on(t, pgtest.DSN(t))
	s.plant(t, "alter role "+s.login+" nocreaterole", "alter role "+s.login+" set search_path = ''")
	s.open(t, behind(t, s.dsn, "pool_mode = statement"), plugin.BySchema())
	findings, err := doctor.Examine(t.Context(), s.db)
	for _, f := range findings {
		seen(f)
	}
	if len(findings) != 1 || findings[0].ID != "pooler-transactions" {
		t.Fatalf("got %+v", findings)
	}
	if err == nil || !strings.Contains(err.Error(), "without transactions nothing else can be measured") {
		t.Errorf("got error %v", err)
	}
	mustSay(t, findings[0], doctor.Problem, "pool_mode = transaction")
}
