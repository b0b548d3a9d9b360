package fairpool

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// closeTimeout bounds how long closing a connection may take that has served too many tenants.
const closeTimeout = 5 * time.Second

// recordKey is where a connection keeps its record in CustomData.
const recordKey = "tenantry.fairpool"

// record is what is known of a connection from when it was opened until it is closed.
type record[K comparable] struct {
	opened  time.Time
	lay     time.Duration // in the hot list, before it was given back to pgxpool
	tenants Tenants[K]    // guarded by Pool.mu
}

func recordOf[K comparable](c *pgx.Conn) *record[K] {
	r, _ := c.PgConn().CustomData()[recordKey].(*record[K])
	return r
}

// Conn is a connection of a [Pool] that one request holds.
type Conn[K comparable] struct {
	pool *Pool[K]
	from Acquired
	*record[K]

	// Guarded by Pool.mu.
	key   K         // of the tenant that holds it, or held it last
	since time.Time // when it was released to the hot list
}

// Conn returns the connection. It is the request's until Release.
func (c *Conn[K]) Conn() *pgx.Conn { return c.from.Conn() }

// Release gives the connection back. It must be called exactly once for each Acquire. A
// connection that must not be used again is closed before: one that is closed, busy, or in a
// transaction serves nobody else.
func (c *Conn[K]) Release() {
	if c.tenants.Over() { // only its holder adds to them
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		_ = c.Conn().Close(ctx) // the socket is closed whatever it returns
	}
	c.pool.release(c)
}

// isUsable reports whether the next request may have the connection without pgxpool, which would
// look for the same.
func (c *Conn[K]) isUsable(lifetime time.Duration) bool {
	conn := c.Conn()
	return !conn.IsClosed() && !conn.PgConn().IsBusy() && conn.PgConn().TxStatus() == 'I' &&
		(lifetime <= 0 || time.Since(c.opened) < lifetime)
}
