package main

import (
	"context"

	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// tenantry is GORM with the plugin.
type tenantry struct {
	strategy func(site) (strategy plugin.Strategy, baseConns int, err error)
	opts     []plugin.Option // more than those of the site
	db       *gorm.DB
}

func (p *tenantry) open(_ context.Context, s site) error {
	strategy, conns, err := p.strategy(s)
	if err != nil {
		return err
	}
	dsn, err := s.dsn(s.database)
	if err != nil {
		return err
	}
	if p.db, err = gorm.Open(postgres.Open(dsn), gormConfig()); err != nil {
		return err
	}
	opts := append([]plugin.Option{plugin.WithMaxConns(conns)}, s.tuning.options()...)
	return p.db.Use(plugin.New(strategy, append(opts, p.opts...)...))
}

func (t tuning) options() (opts []plugin.Option) {
	if t.hot >= 0 {
		opts = append(opts, plugin.WithHotStatements(t.hot))
	}
	if t.tenantsPerConn >= 0 {
		opts = append(opts, plugin.WithTenantsPerConn(t.tenantsPerConn))
	}
	return opts
}

func (p *tenantry) run(ctx context.Context, t tenant, work func(session) error) error {
	return work(session{db: p.db.WithContext(scope.With(ctx, t.id)), marker: t.marker})
}

func (p *tenantry) close() error { return closeGORM(p.db) }
