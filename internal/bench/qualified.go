package main

import (
	"context"

	"gorm.io/gorm"
)

// qualified writes the schema in front of each name.
type qualified struct{ db *gorm.DB }

func (p *qualified) open(_ context.Context, s site) error {
	dsn, err := s.dsn(s.database)
	if err != nil {
		return err
	}
	p.db, err = openGORM(dsn, s.conns)
	return err
}

func (p *qualified) run(ctx context.Context, t tenant, work func(session) error) error {
	return work(session{db: p.db.WithContext(ctx), schema: t.schema, marker: t.marker})
}

func (p *qualified) close() error { return closeGORM(p.db) }
