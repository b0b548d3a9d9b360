package main

import (
	"context"

	"gorm.io/gorm"
)

const (
	plainSchema = "plain"
	plainMarker = "row of plain"
)

// plain is GORM without tenants: one schema, which the connection string names.
type plain struct{ db *gorm.DB }

func (p *plain) open(_ context.Context, s site) error {
	dsn, err := s.dsn(s.database, "search_path", plainSchema)
	if err != nil {
		return err
	}
	p.db, err = openGORM(dsn, s.conns)
	return err
}

func (p *plain) run(ctx context.Context, _ tenant, work func(session) error) error {
	return work(session{db: p.db.WithContext(ctx), marker: plainMarker})
}

func (p *plain) close() error { return closeGORM(p.db) }
