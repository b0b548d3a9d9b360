package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/tenantry/tenantry/internal/pgserver"
	"github.com/tenantry/tenantry/internal/pgserver/dsn"
	"github.com/tenantry/tenantry/plugin"
)

// dialLimit is how long the database may take to answer for the first time.
const dialLimit = 15 * time.Second

// server returns the connection string of the database to use, and what stops
// its server.
func (s *settings) server(ctx context.Context, p *progress) (connection string, stop func() error, err error) {
	if s.dsn != "" {
		config, err := dsn.Parse(s.dsn)
		if err != nil {
			return "", nil, err
		}
		p.say("using database %q on %s; the schemas tenant_acme and tenant_globex stay there", config.Database, config.Host)
		return s.dsn, func() error { return nil }, nil
	}
	p.say("starting a private PostgreSQL")
	server, err := pgserver.Start(ctx, pgserver.WithLog(func(line string) { p.say("  %s", line) }))
	if err != nil {
		return "", nil, err
	}
	return server.DSN(), server.Stop, nil
}

// open opens the database of a connection string for statements that name their
// tenant. The returned function closes it.
func open(ctx context.Context, connection string) (*gorm.DB, func() error, error) {
	db, err := gorm.Open(postgres.Open(connection), &gorm.Config{
		Logger:               logger.Discard, // the output is the demonstration's
		DisableAutomaticPing: true,           // ping heeds ctx
	})
	if err != nil {
		return nil, nil, err
	}
	tenantry := plugin.New(plugin.BySchema())
	if err := db.Use(tenantry); err != nil {
		return nil, nil, err
	}
	if err := ping(ctx, db); err != nil {
		return nil, nil, errors.Join(err, tenantry.Close())
	}
	return db, tenantry.Close, nil
}

func ping(ctx context.Context, db *gorm.DB) error {
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	pool, err := db.DB()
	if err != nil {
		return err
	}
	if err := pool.PingContext(ctx); err != nil {
		return fmt.Errorf("the database does not answer: %w", err)
	}
	return nil
}
