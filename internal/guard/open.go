package guard

import (
	"context"
	"database/sql"
	"errors"

	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/driver"
)

// Open opens GORM on one place: statements of the scope s run at t, on a pool that Open
// makes of cfg, and all others are refused. It dials nothing. Close the *sql.DB, which
// closes the pool.
func Open(cfg *pgxpool.Config, s driver.Scope, t driver.Target, config *gorm.Config) (*gorm.DB, *sql.DB, error) {
	prepared := driver.PreparePool(cfg, driver.Tuning{})
	base, err := pgxpool.NewWithConfig(context.Background(), cfg)
	if err != nil {
		return nil, nil, err
	}
	t.Pool = base
	pool := sql.OpenDB(&driver.Connector{
		Locator:  driver.At{Scope: s, Target: t},
		Base:     base,
		Place:    s.Place,
		Counters: &driver.Counters{},
		OnClose:  func() error { return prepared.Close(base) },
	})
	db, err := gorm.Open(postgres.New(postgres.Config{Conn: pool}), config)
	if err == nil {
		err = Install(db, pool)
	}
	if err != nil {
		return nil, nil, errors.Join(err, pool.Close())
	}
	return db, pool, nil
}
