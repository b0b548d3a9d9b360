package driver

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/tenantry/tenantry/internal/fairpool"
)

// checkout is a connection that was taken from its pool. Statements go through stdlib's own
// Conn, so that rows and tracers are pgx's.
type checkout struct {
	std  *stdlib.Conn
	held interface{ Release() } // what goes back to the pool; nil if closing std does that
}

var _ fairpool.Acquired = checkout{}

func (c checkout) Conn() *pgx.Conn { return c.std.Conn() }

// Release gives the connection back to the pool that it is from.
func (c checkout) Release() {
	if c.held != nil {
		c.held.Release()
		return
	}
	_ = c.std.Close() // calls pgxpool's Release, which returns nothing
}

// connect tries again without the start-up parameters that the peer refuses.
func connect(ctx context.Context, pool *pgxpool.Pool) (checkout, error) {
	connector := stdlib.GetPoolConnector(pool)
	c, err := connector.Connect(ctx)
	if RefusesParameter(err) {
		c, err = connector.Connect(context.WithValue(ctx, parameterRefused{}, true))
	}
	if err != nil {
		return checkout{}, Redact(err)
	}
	std := c.(*stdlib.Conn) //nolint:forcetypeassert // what stdlib's connector returns
	if l := linkOf(std); l != nil {
		l.std = std
	}
	return checkout{std: std}, nil
}

// reconnect is connect for a pool without hooks, which would see more than there is. Where
// stdlib has made its Conn of a connection before, that one serves again: to make one, and to close
// it, takes longer than all else between the pool and the statement.
func reconnect(ctx context.Context, pool *pgxpool.Pool) (checkout, error) {
	held, err := pool.Acquire(ctx)
	switch {
	case RefusesParameter(err):
		return connect(ctx, pool)
	case err != nil:
		return checkout{}, Redact(err)
	}
	if l := linkOf(held); l != nil && l.std != nil {
		return checkout{std: l.std, held: held}, nil
	}
	held.Release()
	return connect(ctx, pool)
}
