package main

import (
	"context"
	"errors"
	"io"

	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/plugin/dbresolver"
)

// resolver chooses among databases by dbresolver. It has as many connections as Tenantry
// with the same databases.
type resolver struct {
	db  *gorm.DB
	all *dbresolver.DBResolver
}

func (p *resolver) open(_ context.Context, s site) error {
	base, err := s.dsn(s.database)
	if err != nil {
		return err
	}
	if p.db, err = openGORM(base, 1); err != nil {
		return err
	}
	p.all = &dbresolver.DBResolver{}
	for _, t := range s.tenants {
		dsn, err := s.dsn(t.database)
		if err != nil {
			return err
		}
		p.all.Register(dbresolver.Config{Sources: []gorm.Dialector{postgres.Open(dsn)}}, t.database)
	}
	each := max(1, s.conns/len(s.tenants))
	p.all.SetMaxOpenConns(each).SetMaxIdleConns(each) // for those that Use opens
	return p.db.Use(p.all)
}

func (p *resolver) run(ctx context.Context, t tenant, work func(session) error) error {
	db := p.db.WithContext(ctx).Clauses(dbresolver.Use(t.database)).Session(&gorm.Session{})
	return work(session{db: db, marker: t.marker})
}

func (p *resolver) close() error {
	err := closeGORM(p.db)
	if p.all == nil || p.all.DB == nil {
		return err
	}
	return errors.Join(err, p.all.Call(func(pool gorm.ConnPool) error {
		if c, ok := pool.(io.Closer); ok {
			return c.Close()
		}
		return nil
	}))
}
