package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"
)

// setReset sets search_path on a connection that it keeps for the unit of work, and
// resets it. A connection that can't be reset is closed.
type setReset struct {
	db   *gorm.DB
	pool *sql.DB
}

func (p *setReset) open(_ context.Context, s site) error {
	dsn, err := s.dsn(s.database)
	if err != nil {
		return err
	}
	if p.db, err = openGORM(dsn, s.conns); err != nil {
		return err
	}
	p.pool, err = p.db.DB()
	return err
}

func (p *setReset) run(ctx context.Context, t tenant, work func(session) error) (err error) {
	conn, err := p.pool.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, reset(ctx, conn), conn.Close()) }()
	if _, err := conn.ExecContext(ctx, "set search_path = "+quote(t.schema)); err != nil {
		return err
	}
	db := p.db.Session(&gorm.Session{NewDB: true, Context: ctx})
	db.Statement.ConnPool = conn
	return work(session{db: db, marker: t.marker})
}

func reset(ctx context.Context, conn *sql.Conn) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	_, err := conn.ExecContext(ctx, "reset search_path")
	if err == nil {
		return nil
	}
	_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // so that the pool closes it
	return err
}

func (p *setReset) close() error { return closeGORM(p.db) }

// setLocal puts a transaction around each unit of work, and search_path into it.
type setLocal struct{ db *gorm.DB }

func (p *setLocal) open(_ context.Context, s site) error {
	dsn, err := s.dsn(s.database)
	if err != nil {
		return err
	}
	p.db, err = openGORM(dsn, s.conns)
	return err
}

func (p *setLocal) run(ctx context.Context, t tenant, work func(session) error) error {
	return p.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		if err := tx.Exec("set local search_path = " + quote(t.schema)).Error; err != nil {
			return err
		}
		return work(session{db: tx, marker: t.marker})
	})
}

func (p *setLocal) close() error { return closeGORM(p.db) }

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }
