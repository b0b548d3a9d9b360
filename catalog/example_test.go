package catalog_test

import (
	"context"
	"fmt"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/ginmw"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

func ExampleOpen() {
	start := func(ctx context.Context, dsn string, migrations migrator.Migrations) error {
		tenants, err := catalog.Open(ctx, dsn, catalog.WithMigrations(migrations), catalog.WithReserved("myservice.com"))
		if err != nil {
			return err
		}
		defer tenants.Close()
		db, err := gorm.Open(postgres.Open(dsn), &gorm.Config{})
		if err != nil {
			return err
		}
		if err := db.Use(plugin.New(tenants.Strategy())); err != nil {
			return err
		}
		if err := tenants.Repair(ctx); err != nil { // what a crash has left
			return err
		}
		if _, err := migrator.New(db, tenants, migrations).Run(ctx); err != nil { // all tenants, wherever they live
			return err
		}
		tenant, err := ginmw.New(tenants, ginmw.First(ginmw.Subdomain("myservice.com"), ginmw.Host()))
		// …
		_ = tenant
		return err
	}
	_ = start
}

// A sign-up takes milliseconds while there are spares.
func ExampleWithSpares() {
	start := func(ctx context.Context, dsn string, migrations migrator.Migrations) (*catalog.Catalog, error) {
		tenants, err := catalog.Open(ctx, dsn, catalog.WithMigrations(migrations), catalog.WithSpares(catalog.OwnSchema, 10))
		return tenants, err
	}
	_ = start
}

func ExampleCatalog_Create() {
	signUp := func(ctx context.Context, tenants *catalog.Catalog) (string, error) {
		acme, err := tenants.Create(ctx, catalog.New{
			ID:    "acme", // for ever
			Name:  "Acme Corp",
			Hosts: []string{"acme", "portal.acme.example"}, // the first is the primary one
			Kind:  catalog.OwnDatabase,                     // or OwnSchema, the default
		})
		return acme.Primary().Name, err
	}
	_ = signUp
}

func ExampleCatalog_AddServer() {
	addServer := func(ctx context.Context, tenants *catalog.Catalog) error {
		err := tenants.AddServer(ctx, catalog.NewServer{Name: "db2", ConnString: "postgres://…", Capacity: 500})
		return err
	}
	_ = addServer
}

// A job names its tenant, or goes through all of them.
func ExampleCatalog_List() {
	bill := func(*gorm.DB) error { return nil }
	job := func(ctx context.Context, db *gorm.DB, tenants *catalog.Catalog) error {
		acme, err := scope.Parse("acme")
		if err != nil {
			return err
		}
		if err := bill(db.WithContext(scope.With(ctx, acme))); err != nil {
			return err
		}

		for t, err := range tenants.List(ctx, catalog.Filter{States: []catalog.State{catalog.Active}}) {
			if err != nil {
				return err
			}
			if err := bill(db.WithContext(scope.With(ctx, t.ID))); err != nil {
				return fmt.Errorf("billing %s: %w", t.ID, err)
			}
		}
		return nil
	}
	_ = job
}

// Tenants' databases are reached through a pooler, and made past it.
func ExampleWithPools() {
	start := func(ctx context.Context, direct string) error {
		tenants, err := catalog.Open(ctx, direct, catalog.WithPools(plugin.WithDatabaseConfig(func(cfg *pgxpool.Config) error {
			cfg.ConnConfig.Host, cfg.ConnConfig.Port = "pgbouncer.internal", 6432
			return nil
		})))
		if err != nil {
			return err
		}
		return tenants.Close()
	}
	_ = start
}

// token stands for what makes the password of one login, such as rds/auth.BuildAuthToken.
func token(context.Context, string, uint16, string) (string, error) { return "…", nil }

// The password is a token that expires: each connection gets a new one, GORM's too.
func ExampleWithBeforeConnect() {
	start := func(ctx context.Context, adminDSN, servingDSN string) error {
		login := func(ctx context.Context, cc *pgx.ConnConfig) (err error) {
			cc.Password, err = token(ctx, cc.Host, cc.Port, cc.User)
			return err
		}
		tenants, err := catalog.Open(ctx, adminDSN,
			catalog.WithServingRole("app"),
			catalog.WithBeforeConnect(func(ctx context.Context, _ string, cc *pgx.ConnConfig) error { return login(ctx, cc) }))
		if err != nil {
			return err
		}
		db, err := gorm.Open(postgres.Open(servingDSN), &gorm.Config{DisableAutomaticPing: true}) // a ping would come before the token
		if err != nil {
			return err
		}
		base := plugin.WithPoolConfig(func(cfg *pgxpool.Config) error { cfg.BeforeConnect = login; return nil })
		return db.Use(plugin.New(tenants.Strategy(), base))
	}
	_ = start
}

// LISTEN needs a session of its own, and statements don't.
func ExampleOpen_pooler() {
	start := func(ctx context.Context, migrations migrator.Migrations) error {
		pooled, direct := os.Getenv("POOLED_URL"), os.Getenv("DIRECT_URL")

		tenants, err := catalog.Open(ctx, direct)
		if err != nil {
			return err
		}
		db, err := gorm.Open(postgres.Open(pooled), &gorm.Config{})
		if err != nil {
			return err
		}
		if err := db.Use(plugin.New(tenants.Strategy())); err != nil {
			return err
		}
		_, err = migrator.New(db, tenants, migrations, migrator.WithDirect(direct)).Run(ctx)
		return err
	}
	_ = start
}
