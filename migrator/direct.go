package migrator

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/internal/driver"
)

var errElsewhere = errors.New("it leads to another database than the *gorm.DB, and tenants would be migrated there: give it the same database on the same server")

// directConfig returns what WithDirect was given, or what the tenants know; nil if the
// *gorm.DB's own connections will do.
func (m *Migrator) directConfig() (*pgxpool.Config, error) {
	fleet, ok := m.tenants.(Administered)
	if m.direct != nil || !ok {
		return m.direct, nil
	}
	cfg, err := fleet.Direct()
	if err != nil {
		return nil, fmt.Errorf("migrator: connect as the administrator: %w", err)
	}
	return cfg, nil
}

// checkDirect refuses a direct connection to another database than the *gorm.DB's: what
// the one has locked, the other must not be able to lock. Addresses prove nothing where
// a pooler stands in between, a copy of a server has its names and identifier too, and
// this any user may do.
func (m *Migrator) checkDirect(ctx context.Context, pool *pgxpool.Pool) error {
	key := rand.Int64() //nolint:gosec // it need only be rare
	direct, usual := &driver.Target{Pool: pool}, &driver.Target{Pool: m.connector.Base}
	elsewhere := false
	err := insist(ctx, isLost, func() error {
		return direct.Lend(ctx, func(c *pgx.Conn) error {
			begin := pgx.TxOptions{BeginQuery: fmt.Sprintf("begin; select pg_catalog.pg_advisory_xact_lock(%d)", key)}
			return pgx.BeginTxFunc(ctx, c, begin, func(pgx.Tx) error {
				return m.connector.Lend(ctx, usual, func(c *pgx.Conn) error {
					return c.QueryRow(ctx, "select pg_catalog.pg_try_advisory_xact_lock($1)", key).Scan(&elsewhere)
				})
			})
		})
	})
	if err == nil && elsewhere {
		err = errElsewhere
	}
	if err != nil {
		return fmt.Errorf("migrator: WithDirect: %w", err)
	}
	return nil
}
