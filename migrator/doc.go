// Package migrator brings every tenant to the same version, with gormigrate.
//
//	report, err := migrator.New(db, migrator.List{acme, globex}, migrations).Run(ctx)
//
// Each tenant is migrated in one transaction of its own, which also creates the
// tenant's schema if it is missing. Several processes may run at once, as they
// do when a service starts: a lock per tenant lets one of them work and the
// others find the work done.
package migrator
