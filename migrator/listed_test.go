package migrator_test

import (
	"slices"
	"sync/atomic"
	"testing"

	"github.com/go-gormigrate/gormigrate/v2"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
)

// counted is a migration that counts its calls, and then does what sql says.
func counted(id, sql string, calls *atomic.Int64) *gormigrate.Migration {
	return &gormigrate.Migration{ID: id, Migrate: func(tx *gorm.DB) error {
		calls.Add(1)
		return tx.Exec(sql).Error
	}}
}

// TestTheLedgersListIsReliedOnOnce: what a step has done is not in it, so a step outside of a
// transaction neither begins anew what was done before it, nor comes again.
func TestTheLedgersListIsReliedOnOnce(t *testing.T) {
	t.Parallel()
	for name, inside := range map[string]bool{"alone": false, "behind a step in a transaction": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := pgtest.Database(t)
			db := open(t, dsn, plugin.BySchema())
			list := many(t, 3)
			if _, err := migrator.New(db, list, two, silent).Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			var before, outside atomic.Int64
			migrations := slices.Clone(two)
			if inside {
				migrations = append(migrations, counted("0003", "alter table invoices add column cents bigint", &before))
			}
			migrations = append(migrations, migrator.NoTransaction(counted("0004", titleIndex, &outside)))
			report, err := migrator.New(db, list, migrations, silent).Run(t.Context())
			if err != nil || report.Count(migrator.Current) != len(list) {
				t.Fatalf("%d current, error %v", report.Count(migrator.Current), err)
			}
			if n := outside.Load(); n != int64(len(list)) {
				t.Errorf("the step outside of a transaction was called %d times for %d tenants", n, len(list))
			}
			if n := before.Load(); inside && n != int64(len(list)) {
				t.Errorf("the step before it was called %d times for %d tenants", n, len(list))
			}
		})
	}
}

// TestAStepThatTheLedgerDoesNotKnowOfIsNotDoneAgain: the tenant's own table decides.
func TestAStepThatTheLedgerDoesNotKnowOfIsNotDoneAgain(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	db := open(t, dsn, plugin.BySchema())
	list := many(t, 2)
	if _, err := migrator.New(db, list, two, silent).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	done := list[0].String()
	for _, sql := range []string{
		`alter table "tenant_` + done + `".invoices add column cents bigint`,
		`insert into "tenant_` + done + `".migrations values ('0003')`,
	} {
		if _, err := admin(t, dsn).Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	migrations := append(slices.Clone(two), text("0003", "alter table invoices add column cents bigint"), text("0004", "create table last (id int)"))
	report, err := migrator.New(db, list, migrations, silent).Run(t.Context())
	if err != nil || report.Count(migrator.Current) != len(list) {
		t.Fatalf("%d current, error %v", report.Count(migrator.Current), err)
	}
}
