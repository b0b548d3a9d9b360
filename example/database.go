package main

import (
	"context"

	"github.com/tenantry/tenantry/internal/pgserver"
	"github.com/tenantry/tenantry/internal/pgserver/dsn"
)

// server returns the connection string of the database to use, and what stops
// its server.
func (s *settings) server(ctx context.Context, p *progress) (connection string, stop func() error, err error) {
	if s.dsn != "" {
		config, err := dsn.Parse(s.dsn)
		if err != nil {
			return "", nil, err
		}
		p.say("using database %q on %s; what customers get there stays", config.Database, config.Host)
		return s.dsn, func() error { return nil }, nil
	}
	p.say("starting a private PostgreSQL")
	server, err := pgserver.Start(ctx, pgserver.WithLog(func(line string) { p.say("  %s", line) }))
	if err != nil {
		return "", nil, err
	}
	return server.DSN(), server.Stop, nil
}
