// Package migrator brings every tenant to the same version, with gormigrate's
// migrations.
//
//	report, err := migrator.New(db, tenants, migrations).Run(ctx)
//
// Each tenant is migrated in one transaction of its own, which also creates the
// tenant's schema if it is missing. A ledger in the master database knows where
// each tenant is: with nothing to do, Run costs the same for any number of tenants,
// and may stand in the start-up of every process. With something to do, processes
// that run at once share the work, and take over from one that dies.
//
// The truth is each tenant's own tracking table. See docs/migrations.md for
// rolling out, watching, stopping and rolling back.
package migrator
