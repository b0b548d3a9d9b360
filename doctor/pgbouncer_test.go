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

// behind returns the same application's connection string through PgBouncer.
func (s *system) behind(t *testing.T, extra ...string) string {
	t.Helper()
	return pgbouncer.Start(t, pgbouncer.Config{Target: s.dsn, PoolSize: 2, Extra: extra}).DSN(s.dsn)
}

func TestAPoolerIsFound(t *testing.T) {
	t.Parallel()
	s := withCatalog(t, pgtest.DSN(t))
	s.plant(t, "create table public.plans (id bigint)")
	s.open(t, s.behind(t), s.catalog.Strategy())
	f := s.mustFind(t, []string{"base-path", "pooler"})
	mustSay(t, f, doctor.Problem, "schema public", "alter role "+s.login+" in database ")
}

func TestBehindAPoolerTheServersPathMayBeEmpty(t *testing.T) {
	t.Parallel()
	s := withCatalog(t, pgtest.DSN(t))
	s.plant(t, "create table public.plans (id bigint)", "alter role "+s.login+" set search_path = ''")
	s.open(t, s.behind(t), s.catalog.Strategy(), plugin.WithMaxConns(100))
	mustSay(t, s.mustFind(t, []string{"pooler"}), doctor.Info, "WithDirect", "catalog.Open")
}

func TestACatalogThatHearsNothingIsAWarning(t *testing.T) {
	t.Parallel()
	s := withCatalog(t, pgtest.DSN(t))
	deaf, err := catalog.Open(t.Context(), s.behind(t), catalog.WithKeys(s.keys), catalog.WithLogger(slog.New(slog.DiscardHandler)))
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
	s.open(t, s.behind(t, "pool_mode = statement"), plugin.BySchema())
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
