package migrator_test

import (
	"context"
	"testing"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// TestTenantsWithDatabasesOfTheirOwn has fewer connections than the migrator
// works on tenants at a time.
func TestTenantsWithDatabasesOfTheirOwn(t *testing.T) {
	t.Parallel()
	list := many(t, 8)
	where := map[scope.Tenant]plugin.Database{}
	for _, tenant := range list {
		where[tenant] = plugin.Database{Server: pgtest.Database(t)}
	}
	strategy := plugin.ByDatabase(func(_ context.Context, t scope.Tenant) (plugin.Database, error) { return where[t], nil }, plugin.WithBudget(3))
	db := open(t, pgtest.Database(t), strategy)
	report, err := migrator.New(db, list, two).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	checkApplied(t, report, list, "0001", "0002")
	for _, tenant := range list {
		if got, want := ask[string](t, admin(t, where[tenant].Server), tablesOf, "public"), "invoices migrations"; got != want {
			t.Errorf("%s has the tables %q, want %q", tenant, got, want)
		}
	}
}
