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

// session is one connection to a server, as its administrator. It is never
// anybody else's before or after: migrations may leave in it what they like.
// Statements with arguments belong in a transaction, where they are described
// first: migrations change tables and pass arguments of any type. Outside of one
// a pooler could send the two round trips to two connections.
type session struct {
	pool *sql.DB // of one connection
	db   *gorm.DB
}

// dialLimit bounds a dial where the connection string has no connect_timeout.
const dialLimit = 10 * time.Second

// dial connects to d. Close the session.
func dial(ctx context.Context, d plugin.Database) (*session, error) {
	cfg, err := d.Config()
	if err != nil {
		return nil, err
	}
	if cfg.ConnConfig.ConnectTimeout <= 0 {
		cfg.ConnConfig.ConnectTimeout = dialLimit
	}
	cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeDescribeExec
	cfg.ConnConfig.StatementCacheCapacity, cfg.ConnConfig.DescriptionCacheCapacity = 0, 0
	driver.SetFormats(cfg.ConnConfig)
	pool := stdlib.OpenDB(*cfg.ConnConfig)
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
