package catalog

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/tenantry/tenantry/internal/driver"
	"github.com/tenantry/tenantry/internal/guard"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
)

// newPlace is a schema or database that was made for a tenant, a spare or a template,
// and in which the migrations are to run.
type newPlace struct {
	server   *tenantRow // names the server
	database string     // "" is the server's shared one
	schemas  []string   // the path; the tables go into the first
	scope    driver.Scope

	// See migrator.NewPlace. Both are nil for a template, which is made only where there
	// are migrations.
	begin, finish func(tx *gorm.DB) error
}

// scope is what the statements of the row's migrations name: its tenant, or for a
// spare the spare itself, which has none.
func (r *tenantRow) scope() driver.Scope {
	if r.spare {
		return driver.Scope{Place: fmt.Sprintf("spare %q", r.ID)}
	}
	return driver.Scope{Tenant: r.id()}
}

// gormConfig returns the configuration of the *gorm.DB that migrations get. GORM keeps
// callbacks and prepared statements in unexported fields of a configuration that was used
// before: these must not be shared.
func (c *Catalog) gormConfig() *gorm.Config {
	var cfg gorm.Config
	from, to := reflect.ValueOf(&c.gorm).Elem(), reflect.ValueOf(&cfg).Elem()
	for i := range to.NumField() {
		if to.Type().Field(i).IsExported() {
			to.Field(i).Set(from.Field(i))
		}
	}
	cfg.ConnPool, cfg.Dialector, cfg.Plugins = nil, nil, nil
	cfg.DryRun, cfg.DisableAutomaticPing = false, true
	if cfg.Logger == nil {
		cfg.Logger = logger.Discard
	}
	return &cfg
}

// migrate runs the migrations at a new place as the administrator of its server, under
// the driver that guards the statements of tenants. It needs one connection, and a
// migration that uses tx.DB() another; nobody had them before and nobody gets them after.
func (c *Catalog) migrate(ctx context.Context, p newPlace) (err error) {
	dsn, err := c.connString(ctx, &p.server.Server)
	if err != nil {
		return err
	}
	cfg, err := c.connConfig(p.server.ServerName, plugin.Database{Server: dsn, Name: p.database})
	if err != nil {
		return err
	}
	cfg.MaxConns, cfg.MinConns, cfg.MinIdleConns = 4, 0, 0
	limitDial(cfg.ConnConfig)
	target := driver.Target{Schema: p.schemas[0], Managed: true}
	path, err := plugin.SearchPath(p.schemas...)
	if err != nil {
		return err
	}
	for _, s := range path {
		target.Settings = append(target.Settings, driver.Setting(s))
	}
	db, pool, err := guard.Open(cfg, p.scope, target, c.gormConfig())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pool.Close()) }()
	ctx = p.scope.On(ctx)
	if c.migrations == nil {
		return db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
			if err := p.begin(tx); err != nil {
				return err
			}
			return p.finish(tx)
		})
	}
	return c.migrations.Apply(ctx, migrator.NewPlace{DB: db, Begin: p.begin, Finish: p.finish})
}
