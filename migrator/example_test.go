package migrator_test

import (
	"context"
	"fmt"

	"github.com/go-gormigrate/gormigrate/v2"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/migrator"
)

// Plan is a row of a table that belongs to no tenant.
type Plan struct{ ID uint }

// TableName names the table in full, so that tenants find it, too.
func (Plan) TableName() string { return "public.plans" }

func ExampleMigrator_Run() {
	migrations := migrator.Migrations{
		{ID: "0001_invoices", Migrate: func(tx *gorm.DB) error { return tx.Exec("create table invoices (id bigint)").Error }},
	}
	sharedMigrations := migrator.Migrations{
		{ID: "0001_plans", Migrate: func(tx *gorm.DB) error { return tx.AutoMigrate(&Plan{}) }},
	}
	start := func(ctx context.Context, db *gorm.DB, tenants *catalog.Catalog) error {
		m := migrator.New(db, tenants, migrations,
			migrator.WithShared(sharedMigrations), // tables that belong to no tenant
			migrator.WithProgress(func(e migrator.Event) { fmt.Println(e.Kind, e.Tenant, e.Migration, e.Done, "of", e.Total) }))
		report, err := m.Run(ctx) // at start-up, in every process
		if err != nil {
			return err
		}
		fmt.Println("run", report.Run)
		return nil
	}
	_ = start
}

func ExampleNoTransaction() {
	migrations := migrator.Migrations{
		migrator.NoTransaction(&gormigrate.Migration{
			ID: "0008_lines_invoice",
			Migrate: func(tx *gorm.DB) error {
				return tx.Exec("CREATE INDEX CONCURRENTLY IF NOT EXISTS lines_invoice ON lines (invoice_id)").Error
			},
		}),
	}
	fmt.Println(len(migrations))
	// Output: 1
}
