package main

import (
	"context"

	"github.com/tenantry/tenantry/migrator"
)

// prepare does what comes before the first request.
func (b *backend) prepare(ctx context.Context, p *progress) error {
	if err := b.migrate(ctx, p); err != nil {
		return err
	}
	p.say("repairing sign-ups that were cut off")
	if err := b.tenants.Repair(ctx); err != nil {
		p.say("  not all of them: %v", err) // they are not served; the others are
	}
	return nil
}

// migrator returns what brings the tables to the version of this program.
func (b *backend) migrator(opts ...migrator.Option) *migrator.Migrator {
	return migrator.New(b.db, b.tenants, migrations(), append(opts, migrator.WithShared(sharedMigrations()))...)
}

// migrate brings the shared tables, and the customers of earlier runs, to the version
// of this program. One that can't be is an error: this program does not fit its tables.
func (b *backend) migrate(ctx context.Context, p *progress) error {
	p.say("migrating the customers")
	report, err := b.migrator().Run(ctx)
	for _, r := range report.Results {
		if r.Err == nil {
			p.say("  %-6s  %d migrations applied", r.Tenant, len(r.Applied))
		}
	}
	return err
}
