package main

import (
	"context"
	"errors"
	"time"

	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/plugin"
)

// dialLimit is how long the database may take to answer for the first time.
const dialLimit = 15 * time.Second

// connsPerServer leaves some of PostgreSQL's usual 100 to the catalog and to others.
const connsPerServer = 60

// backend is what the service stands on. Nothing else knows where a customer's
// rows are.
type backend struct {
	tenants  *catalog.Catalog // who the customers are
	db       *gorm.DB         // sends each statement to the customer of its context
	tenantry *plugin.Plugin   // on db
}

// open opens the master database, in which the catalog of the customers is.
func open(ctx context.Context, l logins, keys catalog.Keys) (*backend, error) {
	dialing, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	opts := []catalog.Option{
		catalog.WithKeys(keys),
		catalog.WithMigrations(migrations()),
		catalog.WithRoles(),
		catalog.WithReserved(domain, nobody),
		catalog.WithPools(plugin.WithBudget(connsPerServer)),
	}
	if l.role != "" {
		opts = append(opts, catalog.WithServingRole(l.role))
	}
	tenants, err := catalog.Open(dialing, l.admin, opts...)
	if err != nil {
		return nil, err
	}
	b := &backend{tenants: tenants, tenantry: plugin.New(tenants.Strategy())}
	if b.db, err = gorm.Open(postgres.Open(l.serving), &gorm.Config{
		Logger:               logger.Discard, // the output is the demonstration's
		DisableAutomaticPing: true,           // the catalog has heard from the database
	}); err == nil {
		err = b.db.Use(b.tenantry)
	}
	if err != nil {
		return nil, errors.Join(err, tenants.Close())
	}
	return b, nil
}

// close closes the catalog last: statements need it to the end.
func (b *backend) close() error { return errors.Join(b.tenantry.Close(), b.tenants.Close()) }
