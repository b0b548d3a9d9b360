package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/driver"
	"github.com/tenantry/tenantry/plugin"
)

// session is one connection to a server, as its administrator, for what makes and
// drops schemas, databases and roles. Nobody had the connection before, and nobody gets
// it after. Migrations do not run on it: see migrate.
type session struct {
	pool *sql.DB // of one connection
	db   *gorm.DB
}

// dialLimit bounds a dial where the connection string has no connect_timeout.
const dialLimit = 10 * time.Second

// limitDial bounds a dial.
func limitDial(cfg *pgx.ConnConfig) {
	if cfg.ConnectTimeout <= 0 {
		cfg.ConnectTimeout = dialLimit
	}
}

// dial connects to d on the named server. Close the session.
func (c *Catalog) dial(ctx context.Context, server string, d plugin.Database) (*session, error) {
	cfg, err := c.connConfig(server, d)
	if err != nil {
		return nil, err
	}
	limitDial(cfg.ConnConfig)
	cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	cfg.ConnConfig.StatementCacheCapacity, cfg.ConnConfig.DescriptionCacheCapacity = 0, 0
	driver.SetFormats(cfg.ConnConfig)
	var opts []stdlib.OptionOpenDB
	if cfg.BeforeConnect != nil {
		opts = append(opts, stdlib.OptionBeforeConnect(cfg.BeforeConnect))
	}
	pool := stdlib.OpenDB(*cfg.ConnConfig, opts...)
	pool.SetMaxOpenConns(1)
	s := &session{pool: pool}
	if err := pool.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("connect to %s: %w", d, driver.Redact(err)), s.close())
	}
	if s.db, err = gorm.Open(postgres.New(postgres.Config{Conn: pool}), quiet()); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *session) close() error { return s.pool.Close() }

// run executes statements one after the other, up to the first error.
func run(db *gorm.DB, statements ...string) error {
	for _, sql := range statements {
		if err := db.Exec(sql).Error; err != nil {
			return err
		}
	}
	return nil
}
