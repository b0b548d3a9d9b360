package plugin

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/driver"
	"github.com/tenantry/tenantry/internal/guard"
)

// source is the pool that GORM has open and the configuration it was opened with.
type source struct {
	config *pgxpool.Config
	pool   *sql.DB
	lent   bool // the user's own, given to GORM ready-made
}

// release closes the pool if GORM opened it.
func (s source) release() error {
	if s.lent {
		return nil
	}
	if err := s.pool.Close(); err != nil {
		return fmt.Errorf("plugin: close the pool that GORM opened: %w", err)
	}
	return nil
}

// openedBy returns what db has open.
func openedBy(db *gorm.DB) (source, error) {
	dialector, err := guard.Dialector(db)
	if err != nil {
		return source{}, err
	}
	if db.Statement.DB != db {
		return source{}, errors.New("plugin: call Use on the *gorm.DB that gorm.Open returned, not on a session of it")
	}
	pool, err := db.DB()
	if err != nil {
		return source{}, fmt.Errorf("plugin: GORM's connection pool is not a *sql.DB: %w", err)
	}
	s := source{pool: pool, lent: dialector.Conn != nil}
	if s.lent || dialector.DriverName != "" {
		s.config, err = configOfPool(pool)
	} else {
		s.config, err = parse(dialector.Config)
	}
	if err != nil {
		return source{}, err
	}
	if n := pool.Stats().MaxOpenConnections; n > 0 { // SetMaxOpenConns was called before Use
		s.config.MaxConns = int32(min(n, math.MaxInt32))
	}
	return s, nil
}

// parse reads the connection string, and takes over what the dialector does
// besides.
func parse(c *postgres.Config) (*pgxpool.Config, error) {
	cfg, err := driver.ParseConfig(c.DSN)
	if err != nil {
		return nil, fmt.Errorf("plugin: %w", err)
	}
	zone := timezone(cfg.ConnConfig.RuntimeParams)
	hooks := len(c.OptionOpenDB)
	if zone != "" {
		hooks-- // the dialector's own, replaced by readTimestampsIn
		if err := readTimestampsIn(cfg, zone); err != nil {
			return nil, err
		}
	}
	if hooks > 0 {
		return nil, errors.New("plugin: postgres.Config.OptionOpenDB can't be taken over: use plugin.WithPoolConfig")
	}
	return cfg, nil
}

func timezone(params map[string]string) string {
	for name, value := range params {
		if strings.EqualFold(name, "timezone") {
			return value
		}
	}
	return ""
}

// readTimestampsIn makes timestamp values come back in zone, as GORM's driver
// does for a connection string that names one.
func readTimestampsIn(cfg *pgxpool.Config, zone string) error {
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return fmt.Errorf("plugin: timezone of the connection string: %w", err)
	}
	after := cfg.AfterConnect
	cfg.AfterConnect = func(ctx context.Context, c *pgx.Conn) error {
		c.TypeMap().RegisterType(&pgtype.Type{
			Name:  "timestamp",
			OID:   pgtype.TimestampOID,
			Codec: &pgtype.TimestampCodec{ScanLocation: loc},
		})
		if after != nil {
			return after(ctx, c)
		}
		return nil
	}
	return nil
}
