package fairpool

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Option changes what [Open] does by default.
type Option func(*config) error

type config struct {
	tenantsPerConn  int
	most, contended float64
	acquire         func(context.Context, *pgxpool.Pool) (Acquired, error)
}

// WithTenantsPerConn sets how many tenants a connection serves before it is closed. The default
// is 0: any number, and no connection is preferred because it has served a tenant.
func WithTenantsPerConn(n int) Option {
	return func(c *config) error {
		if n < 0 {
			return fmt.Errorf("fairpool: WithTenantsPerConn: %d is negative", n)
		}
		c.tenantsPerConn = n
		return nil
	}
}

// WithShares sets the fraction of the connections that one tenant may hold, and the fraction beyond
// which it gets no more while other tenants wait for a connection. Both are rounded up to whole
// connections. The defaults are 0.75 and 0.5.
//
// A request that needs a second connection to finish may wait as long as other tenants do, where the
// first one makes up the smaller share.
func WithShares(most, contended float64) Option {
	return func(c *config) error {
		if !(0 < contended && contended <= most && most <= 1) {
			return fmt.Errorf("fairpool: WithShares: want 0 < %g <= %g <= 1", contended, most)
		}
		c.most, c.contended = most, contended
		return nil
	}
}

// Acquired is a connection that was taken from pgxpool. Release gives it back. A *pgxpool.Conn
// is one.
type Acquired interface {
	Conn() *pgx.Conn
	Release()
}

// WithAcquire sets how a connection is taken from pgxpool. The default is pgxpool's Acquire.
func WithAcquire(f func(context.Context, *pgxpool.Pool) (Acquired, error)) Option {
	return func(c *config) error {
		c.acquire = f
		return nil
	}
}

func acquire(ctx context.Context, pool *pgxpool.Pool) (Acquired, error) {
	c, err := pool.Acquire(ctx)
	if err != nil {
		return nil, err // and not a nil *pgxpool.Conn
	}
	return c, nil
}
