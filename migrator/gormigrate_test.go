package migrator_test

import (
	"slices"
	"testing"

	"github.com/go-gormigrate/gormigrate/v2"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// asTenant opens dsn with every statement the tenant's.
func asTenant(t testing.TB, dsn string, tenant scope.Tenant) *gorm.DB {
	t.Helper()
	return open(t, dsn, plugin.BySchema()).WithContext(scope.With(t.Context(), tenant))
}

// TestGormigrateFindsNothingToDoAfterUs, nor we after it.
func TestGormigrateFindsNothingToDoAfterUs(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	db, pool, list := open(t, dsn, plugin.BySchema()), admin(t, dsn), tenants(t, "ours", "theirs", "both")
	calls := 0
	migrations := append(slices.Clone(two), &gormigrate.Migration{
		ID: "0003", Migrate: func(tx *gorm.DB) error { calls++; return tx.Exec("create table notes (id bigint)").Error },
		Rollback: func(tx *gorm.DB) error { return tx.Exec("drop table notes").Error },
	})
	mustExec(t, pool, "create schema tenant_theirs", "create schema tenant_both")
	theirs := func(tenant scope.Tenant, migrations []*gormigrate.Migration) *gormigrate.Gormigrate {
		return gormigrate.New(db.WithContext(scope.With(t.Context(), tenant)), &gormigrate.Options{
			TableName: "migrations", IDColumnName: "id", IDColumnSize: 255, UseTransaction: true, ValidateUnknownMigrations: true,
		}, migrations)
	}
	if err := theirs(list[1], migrations).Migrate(); err != nil {
		t.Fatal(err)
	}
	if err := theirs(list[2], migrations[:1]).Migrate(); err != nil {
		t.Fatal(err)
	}
	report, err := migrator.New(db, list, migrations, migrator.WithConcurrency(1)).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]string{{"0001", "0002", "0003"}, nil, {"0002", "0003"}} {
		if got := report.Results[i].Applied; !slices.Equal(got, want) {
			t.Errorf("%s: applied %q, want %q", list[i], got, want)
		}
	}
	for _, tenant := range list {
		if err := theirs(tenant, migrations).Migrate(); err != nil {
			t.Errorf("%s: %v", tenant, err)
		}
	}
	if calls != len(list) {
		t.Errorf("the last migration was called %d times for %d tenants", calls, len(list))
	}
	// What gormigrate undoes, we find missing when asked to look.
	if err := theirs(list[0], migrations).RollbackLast(); err != nil {
		t.Fatal(err)
	}
	m := migrator.New(db, list, migrations)
	found, err := m.Verify(t.Context(), migrator.Selection{})
	if err != nil || found.Checked != 3 || len(found.Mended) != 1 || !slices.Equal(found.Mended[0].Extra, []string{"0003"}) {
		t.Errorf("got %+v, %v", found, err)
	}
	if _, err := m.Run(t.Context()); err != nil || calls != len(list)+1 {
		t.Errorf("%d calls, %v", calls, err)
	}
	if err := theirs(list[0], nil).Migrate(); err == nil {
		t.Error("gormigrate does not know what it does not know")
	}
}

// TestGormigratesInitSchemaIsKnown: it records all ids and one of its own.
func TestGormigratesInitSchemaIsKnown(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	list := tenants(t, "acme")
	mustExec(t, admin(t, dsn), "create schema tenant_acme")
	g := gormigrate.New(asTenant(t, dsn, list[0]), gormigrate.DefaultOptions, two)
	g.InitSchema(func(tx *gorm.DB) error {
		return tx.Exec("create table invoices (id bigserial primary key, title text)").Error
	})
	if err := g.Migrate(); err != nil {
		t.Fatal(err)
	}
	report, err := migrator.New(open(t, dsn, plugin.BySchema()), list, two).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	checkApplied(t, report, list)
}
