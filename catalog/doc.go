// Package catalog keeps the tenants of a service in a master database: who they
// are, where they live, under which hosts they are served. Signing a customer up
// makes the tenant's schema or database, its role and its tables, and from the
// next request on the tenant is served from there.
//
//	tenants, err := catalog.Open(ctx, dsn, catalog.WithMigrations(migrations))
//	defer tenants.Close()
//	db, err := gorm.Open(postgres.Open(dsn), &gorm.Config{})
//	err = db.Use(plugin.New(tenants.Strategy()))
//	tenant, err := tenants.Create(ctx, catalog.New{ID: "acme", Kind: catalog.OwnDatabase})
//
// A [Catalog] is also the directory of httpmw and ginmw, and the list of tenants
// of the migrator. It serves lookups from memory.
//
// The master's tables lie in the schema "tenantry" of the master database. Open
// makes them and keeps them up to date. Passwords and connection strings are
// sealed there with AES-256-GCM, and appear in no error, log or JSON.
package catalog
