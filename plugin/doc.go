// Package plugin makes a GORM database on PostgreSQL multi-tenant.
//
//	db, err := gorm.Open(postgres.Open(dsn), &gorm.Config{})
//	err = db.Use(plugin.New(plugin.BySchema()))
//	ctx = scope.With(ctx, acme)
//	db.WithContext(ctx).Find(&invoices) // from schema tenant_acme
//
// From db.Use on, every statement of db, of db.DB() and of whatever is handed
// one of them runs at the place that the [Strategy] gives for the tenant on the
// statement's context. A context without a scope is an error that matches
// scope.ErrNone, and nothing is sent.
//
// Tenants have a schema each with [BySchema], or a database each, on any number
// of servers, with [ByDatabase]. A strategy of your own finds pools for many
// databases in [Pools].
//
// db.Migrator() and AutoMigrate see the tenant's own schema only, or the one that a
// qualified table name gives, and take a time that does not grow with the number of
// schemas. So db.Dialector is no longer a *postgres.Dialector, and db.Migrator() no
// longer a postgres.Migrator, though they do what those do.
//
// The plugin takes the place of the connection pool that GORM has opened. Close
// it with [Plugin.Close] or by closing the *sql.DB of db.DB().
package plugin
