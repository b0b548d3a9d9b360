package catalog_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-gormigrate/gormigrate/v2"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// TestTheMigratorServesSchemasAndDatabasesInOneRun: on two servers, with and
// without roles, active and suspended.
func TestTheMigratorServesSchemasAndDatabasesInOneRun(t *testing.T) {
	t.Parallel()
	dsn, elsewhere := pgtest.Database(t), pgtest.DatabaseOn(t, pgtest.Server(t).DSN())
	ring := catalog.WithKeys(catalog.FixedKeys{testKey(t, "k1")})
	plain, roles := open(t, dsn, ring), open(t, dsn, ring, catalog.WithRoles())
	if err := plain.AddServer(t.Context(), catalog.NewServer{Name: "second", ConnString: elsewhere}); err != nil {
		t.Fatal(err)
	}
	prefix := unique("fleet")
	var fleet []catalog.Tenant
	for i, c := range []*catalog.Catalog{plain, roles} {
		for _, server := range []string{catalog.Main, "second"} {
			for _, kind := range []catalog.Kind{catalog.OwnSchema, catalog.OwnDatabase} {
				for _, state := range []catalog.State{catalog.Active, catalog.Suspended} {
					tenant := create(t, c, catalog.New{ID: fmt.Sprintf("%s-%s-%s-%s-%d", prefix, server, kind, state, i), Kind: kind, Server: server})
					if state == catalog.Suspended {
						if err := c.Suspend(t.Context(), tenant.ID); err != nil {
							t.Fatal(err)
						}
					}
					fleet = append(fleet, tenant)
				}
			}
		}
	}
	for _, state := range []string{"provisioning", "failed", "deleting"} {
		tenant := create(t, plain, catalog.New{ID: prefix + "-" + state, Server: catalog.Main})
		execute(t, admin(t, dsn), "update tenantry.tenants set state = $1 where id = $2", state, tenant.ID.String())
	}
	slices.SortFunc(fleet, func(a, b catalog.Tenant) int { return strings.Compare(a.ID.String(), b.ID.String()) })
	db := use(t, dsn, roles, nil, plugin.WithMaxConns(6))
	unlucky, boom := fleet[len(fleet)/2].ID, errors.New("boom")
	failing := &gormigrate.Migration{ID: "2-notes", Migrate: func(tx *gorm.DB) error {
		if tenant, err := scope.From(tx.Statement.Context); err != nil || tenant == unlucky {
			return errors.Join(err, boom)
		}
		return second().Migrate(tx)
	}}
	report, err := migrator.New(db, plain, append(migrations(), failing)).Run(t.Context())
	mustBe(t, err, boom)
	mustBeReported(t, report, fleet, func(tenant catalog.Tenant) ([]string, bool) {
		if tenant.ID == unlucky {
			return nil, true
		}
		return []string{"2-notes"}, false
	})
	all := append(migrations(), second())
	report, err = migrator.New(db, plain, all).Run(t.Context())
	if err != nil {
		t.Error(err)
	}
	mustBeReported(t, report, fleet, func(tenant catalog.Tenant) ([]string, bool) {
		if tenant.ID == unlucky {
			return []string{"2-notes"}, false
		}
		return nil, false
	})
	report, err = migrator.New(db, plain, all).Run(t.Context())
	if err != nil {
		t.Error(err)
	}
	mustBeReported(t, report, fleet, func(catalog.Tenant) ([]string, bool) { return nil, false })

	for _, tenant := range fleet { // the tables are where they belong, and nowhere else
		theirs := dsn
		if tenant.Server != catalog.Main {
			theirs = elsewhere
		}
		pool := admin(t, inDatabase(t, theirs, tenant.Database))
		if got := one[[]string](t, pool, "select array_agg(tablename::text order by tablename) from pg_tables where schemaname = $1", tenant.Schema); !slices.Equal(got, []string{"invoices", "migrations", "notes"}) {
			t.Errorf("%s has the tables %q", tenant.ID, got)
		}
		pool.Close()
	}
	for _, shared := range []string{dsn, elsewhere} {
		if n := one[int](t, admin(t, shared), "select count(*)::int from pg_tables where schemaname = 'public'"); n != 0 {
			t.Errorf("%d tables in public", n)
		}
	}
	for _, tenant := range fleet {
		err := db.WithContext(scope.With(t.Context(), tenant.ID)).Exec("insert into notes values (1, 'x')").Error
		if got, getErr := plain.Get(t.Context(), tenant.ID); getErr != nil || (got.State == catalog.Active) != (err == nil) {
			t.Errorf("%s: %v while %s, %v", tenant.ID, err, got.State, getErr)
		}
	}
}

// mustBeReported checks that there is one result for each tenant of the fleet, and
// what it says.
func mustBeReported(t *testing.T, report migrator.Report, fleet []catalog.Tenant, want func(catalog.Tenant) (applied []string, failed bool)) {
	t.Helper()
	results := map[scope.Tenant]migrator.Result{}
	for _, r := range report.Results {
		results[r.Tenant] = r
	}
	if len(results) != len(fleet) || len(report.Results) != len(fleet) {
		t.Errorf("%d results for a fleet of %d", len(report.Results), len(fleet))
	}
	for _, tenant := range fleet {
		applied, failed := want(tenant)
		if r, ok := results[tenant.ID]; !ok || !slices.Equal(r.Applied, applied) || (r.Err != nil) != failed {
			t.Errorf("%s: got %+v, want %q, failed %v", tenant.ID, r, applied, failed)
		}
	}
}
