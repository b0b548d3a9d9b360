package driver

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Connect opens one connection as a pool of cfg would, with its BeforeConnect. Errors
// hold no configuration.
func Connect(ctx context.Context, cfg *pgxpool.Config) (*pgx.Conn, error) {
	cc := cfg.ConnConfig.Copy()
	if cfg.BeforeConnect != nil {
		if err := cfg.BeforeConnect(ctx, cc); err != nil {
			return nil, err
		}
	}
	c, err := pgx.ConnectConfig(ctx, cc)
	return c, Redact(err)
}

// Dial makes sure that pool, which must have been prepared by [PreparePool], has
// an open connection. It connects as a statement would.
func Dial(ctx context.Context, pool *pgxpool.Pool) error {
	c, err := connect(ctx, pool)
	if err != nil {
		return err
	}
	c.Release()
	return nil
}
