package driver

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Dial makes sure that pool, which must have been prepared by [PreparePool], has
// an open connection. It connects as a statement would.
func Dial(ctx context.Context, pool *pgxpool.Pool) error {
	c, err := connect(ctx, pool)
	if err != nil {
		return err
	}
	return c.Close()
}
