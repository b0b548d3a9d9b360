package main

import (
	"context"
	"errors"
	"fmt"

	"gorm.io/gorm"
)

// pools has a *gorm.DB for each tenant, with a pool of its own, whose connections
// have the tenant's search_path from the start. A pool with less than two
// connections would be none: with many tenants they are more than other patterns have.
type pools struct{ of []*gorm.DB }

func (p *pools) open(ctx context.Context, s site) error {
	each := max(2, s.conns/len(s.tenants))
	if need := each * len(s.tenants); need > s.spare {
		return fmt.Errorf("%w: %d pools of %d, and the server has %d left of its max_connections", errOutOfConnections, len(s.tenants), each, s.spare)
	}
	for _, t := range s.tenants {
		if err := ctx.Err(); err != nil {
			return err
		}
		db, err := openPool(s, t, each)
		if err != nil {
			return err
		}
		p.of = append(p.of, db)
	}
	return nil
}

func openPool(s site, t tenant, conns int) (*gorm.DB, error) {
	dsn, err := s.dsn(s.database, "search_path", t.schema)
	if err != nil {
		return nil, err
	}
	return openGORM(dsn, conns)
}

func (p *pools) run(ctx context.Context, t tenant, work func(session) error) error {
	return work(session{db: p.of[t.number].WithContext(ctx), marker: t.marker})
}

func (p *pools) close() (err error) {
	for _, db := range p.of {
		err = errors.Join(err, closeGORM(db))
	}
	return err
}
