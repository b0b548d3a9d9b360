package pgserver

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/internal/pgserver/dsn"
	"github.com/tenantry/tenantry/internal/pgserver/watchdog"
)

// Server is a PostgreSQL server. Its methods are safe for concurrent use.
type Server struct {
	dsn     string
	process *watchdog.Process // nil for a server that is not ours
	log     *watchdog.Tail    // what our server wrote
}

// Start returns a server that answers. ctx limits the start only: the server
// runs until Stop, or until this process ends. Errors hold no password. Where
// no server can be had, the error says what to install or to set.
func Start(ctx context.Context, opts ...Option) (*Server, error) {
	c, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	if named := os.Getenv(EnvDSN); named != "" {
		return c.use(ctx, named)
	}
	p, err := c.find(ctx)
	if err != nil {
		return nil, err
	}
	return c.launch(ctx, p)
}

// use takes the server that the environment names.
func (c *config) use(ctx context.Context, named string) (*Server, error) {
	if _, err := dsn.Parse(named); err != nil {
		return nil, fmt.Errorf("pgserver: %s: %w", EnvDSN, err)
	}
	c.logf("using the PostgreSQL server that %s names, with its own settings", EnvDSN)
	if err := ping(ctx, named, 30*time.Second); err != nil {
		return nil, fmt.Errorf("pgserver: the server that %s names does not answer: %w", EnvDSN, err)
	}
	return &Server{dsn: named}, nil
}

// DSN returns the connection string of a superuser for the database postgres,
// as a URL. For a server that TENANTRY_TEST_DSN names it is that text, in the
// form, and with the user and database, that it has.
func (s *Server) DSN() string { return s.dsn }

// Stop ends the server at once, whoever is connected, and removes its data.
// Further calls return the first one's result. A server that TENANTRY_TEST_DSN names stays.
func (s *Server) Stop() error {
	if s.process == nil {
		return nil
	}
	if err := s.process.Stop(); err != nil {
		return fmt.Errorf("pgserver: %w", err)
	}
	return nil
}

// ping connects once, within limit.
func ping(ctx context.Context, dsn string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}
