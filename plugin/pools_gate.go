package plugin

import (
	"context"
	"net"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/semaphore"
)

// gate lets no more sockets be open to a server than its budget says. Slots say
// who may connect; the gate is for the moments in which pgxpool closes an
// expired or broken connection behind the back of the request that already opens
// the next.
type gate struct{ sockets *semaphore.Weighted }

func newGate(budget int) gate { return gate{sockets: semaphore.NewWeighted(int64(budget))} }

// guard makes a connection that is about to be opened pass the gate. What it
// dials once it is open is a request to cancel: that must not wait, and is no
// session of the server.
func (g gate) guard(c *pgx.ConnConfig) {
	connected := false
	dial, after := c.DialFunc, c.AfterConnect
	c.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if connected {
			return dial(ctx, network, addr)
		}
		return g.dial(ctx, network, addr, dial)
	}
	c.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		connected = true
		if after != nil {
			return after(ctx, conn)
		}
		return nil
	}
}

func (g gate) dial(ctx context.Context, network, addr string, dial pgconn.DialFunc) (net.Conn, error) {
	if err := g.sockets.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	conn, err := dial(ctx, network, addr)
	if err != nil {
		g.sockets.Release(1)
		return nil, err
	}
	return &socket{Conn: conn, leave: sync.OnceFunc(func() { g.sockets.Release(1) })}, nil
}

// socket is a connection that has passed the gate.
type socket struct {
	net.Conn
	leave func()
}

// Close closes the connection, and lets the next one pass.
func (s *socket) Close() error {
	defer s.leave()
	return s.Conn.Close()
}
