package doctor_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/doctor"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
)

func TestAHealthySystemHasNoFindings(t *testing.T) {
	t.Parallel()
	s := withCatalog(t, pgtest.DSN(t))
	s.plant(t, "create table public.plans (id bigint)", "create table public.migrations (id text)")
	mustHaveNone(t, s)
	if _, err := migrator.New(s.db, s.catalog, migrations()).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustHaveNone(t, s)
}

func TestAHealthySystemWithoutACatalogHasNoFindings(t *testing.T) {
	t.Parallel()
	s := on(t, pgtest.DSN(t))
	s.plant(t, "alter role "+s.login+" nocreaterole nocreatedb", "create schema tenant_acme authorization "+s.login,
		"create table tenant_acme.invoices (id bigint)", "create schema extensions authorization "+s.login)
	s.open(t, s.dsn, plugin.BySchema(plugin.WithSharedSchemas("extensions")), plugin.WithMaxConns(1))
	mustHaveNone(t, s)
}

func mustHaveNone(t *testing.T, s *system) {
	t.Helper()
	s.mustFind(t, nil)
}

func TestWhatCantBeExaminedIsAnError(t *testing.T) {
	t.Parallel()
	bare, err := gorm.Open(postgres.Open(pgtest.Database(t)), &gorm.Config{})
	if err != nil {
		t.Fatal(err)
	}
	pool, err := bare.DB()
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	for name, db := range map[string]*gorm.DB{"nil": nil, "without the plugin": bare} {
		if _, err := doctor.Examine(t.Context(), db); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	s := on(t, pgtest.DSN(t))
	s.open(t, s.dsn, plugin.BySchema())
	for name, o := range map[string]doctor.Option{
		"nil": nil, "catalog": doctor.WithCatalog(nil), "processes": doctor.WithProcesses(0),
		"budget": doctor.WithBudget(0), "prefix": doctor.WithSchemaPrefix(""), "accepted": doctor.WithAccepted("nonsense"),
	} {
		if _, err := doctor.Examine(t.Context(), s.db, o); err == nil {
			t.Errorf("option %s: no error", name)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := doctor.Examine(ended, s.db); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v", err)
	}
}

// TestWhatCantBeMeasuredIsAnErrorBesideWhatWasFound takes a right away that the
// checks of triggers and locks need.
func TestWhatCantBeMeasuredIsAnErrorBesideWhatWasFound(t *testing.T) {
	t.Parallel()
	s := on(t, pgtest.DSN(t))
	s.plant(t, "alter role "+s.login+" createrole", "revoke select on pg_catalog.pg_trigger from public")
	s.open(t, s.dsn, plugin.BySchema())
	findings, err := doctor.Examine(t.Context(), s.db)
	if err == nil || !strings.HasPrefix(err.Error(), "doctor: measure triggers of other tenants: ") || !strings.Contains(err.Error(), "\nmeasure locks: ") {
		t.Errorf("got error %v", err)
	}
	if len(findings) != 2 || findings[0].ID != "login-createrole" {
		t.Errorf("got %+v", findings)
	}
}

func TestACatalogOfAnotherDatabaseIsAnError(t *testing.T) {
	t.Parallel()
	s, other := withCatalog(t, pgtest.DSN(t)), on(t, pgtest.DSN(t))
	other.open(t, other.dsn, plugin.BySchema())
	_, err := doctor.Examine(t.Context(), other.db, doctor.WithCatalog(s.catalog))
	if err == nil || !strings.Contains(err.Error(), "not open on the master database") {
		t.Errorf("got error %v", err)
	}
}

func TestSeveritiesHaveNamesAndAnOrder(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal([]doctor.Severity{doctor.Info, doctor.Warning, doctor.Problem})
	if err != nil || string(text) != `["info","warning","problem"]` {
		t.Errorf("got %s, %v", text, err)
	}
	if got := doctor.Worst(nil); got != doctor.Info {
		t.Errorf("got %s", got)
	}
	if got := doctor.Worst([]doctor.Finding{{Severity: doctor.Problem}, {Severity: doctor.Warning}}); got != doctor.Problem {
		t.Errorf("got %s", got)
	}
}

func TestOldVersionsAreAProblem(t *testing.T) {
	t.Parallel()
	mustSay(t, doctor.JudgeVersion(14), doctor.Problem, "PostgreSQL 14", "Upgrade")
	mustSay(t, doctor.JudgeVersion(15), doctor.Info, "An upgrade would bring, with version 16: ", "18: ")
	mustSay(t, doctor.JudgeVersion(18), doctor.Info, "It has, since version 16: ", "Nothing has to be done.")
	for v := 13; v < 20; v++ {
		mustBeComplete(t, doctor.JudgeVersion(v))
	}
}
