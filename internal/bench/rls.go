package main

import (
	"context"
	"strconv"

	"gorm.io/gorm"
)

// rowSecurity has shared tables, whose policies read the tenant from a setting of the
// transaction that is put around each unit of work.
type rowSecurity struct{ db *gorm.DB }

func (p *rowSecurity) open(_ context.Context, s site) error {
	dsn, err := s.dsn(s.database, "search_path", rlsSchema, "user", s.role, "password", s.password)
	if err != nil {
		return err
	}
	p.db, err = openGORM(dsn, s.conns)
	return err
}

func (p *rowSecurity) run(ctx context.Context, t tenant, work func(session) error) error {
	return p.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		if err := tx.Exec("select set_config('app.tenant', ?, true)", strconv.Itoa(t.number)).Error; err != nil {
			return err
		}
		return work(session{db: tx, marker: t.marker})
	})
}

func (p *rowSecurity) close() error { return closeGORM(p.db) }
