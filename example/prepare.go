package main

import (
	"context"

	"gorm.io/gorm"

	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/scope"
)

// prepare does what comes before the first request.
func (b *backend) prepare(ctx context.Context, p *progress) error {
	if err := b.migrateShared(ctx); err != nil {
		return err
	}
	p.say("repairing sign-ups that were cut off")
	if err := b.tenants.Repair(ctx); err != nil {
		p.say("  not all of them: %v", err) // they are not served; the others are
	}
	return b.migrate(ctx, p)
}

// migrateShared makes the tables that belong to no customer. Processes that start
// together take their turns.
func (b *backend) migrateShared(ctx context.Context) error {
	return b.db.WithContext(scope.Shared(ctx)).Transaction(func(tx *gorm.DB) error {
		if err := tx.Exec("select pg_advisory_xact_lock(hashtextextended('example/shared', 0))").Error; err != nil {
			return err
		}
		return sharedMigrations().Apply(tx)
	})
}

// migrate brings the customers of earlier runs to the version of this program. One
// that can't be is an error: this program does not fit its tables.
func (b *backend) migrate(ctx context.Context, p *progress) error {
	p.say("migrating the customers")
	report, err := migrator.New(b.db, b.tenants, migrations()).Run(ctx)
	for _, r := range report.Results {
		if r.Err == nil {
			p.say("  %-6s  %d migrations applied", r.Tenant, len(r.Applied))
		}
	}
	return err
}
