package plugin_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
)

// newPools returns pools that are closed at the end of the test.
func newPools(t testing.TB, opts ...plugin.PoolsOption) *plugin.Pools {
	t.Helper()
	pools, err := plugin.NewPools(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mustClose(t, pools) })
	return pools
}

func mustClose(t testing.TB, pools *plugin.Pools) {
	t.Helper()
	if err := pools.Close(); err != nil {
		t.Error(err)
	}
}

// roles returns n places on one server: a database, and n users with a password
// each. A database costs a hundred times what a role does.
func roles(t testing.TB, server string, n int) []plugin.Database {
	t.Helper()
	dsn := pgtest.DatabaseOn(t, server)
	pool := admin(t, server)
	prefix := "role_" + strings.ToLower(rand.Text())
	places := make([]plugin.Database, n)
	create, drop := "set password_encryption = md5", "select 1"
	for i := range places {
		places[i] = plugin.Database{Server: dsn, User: fmt.Sprintf("%s_%d", prefix, i), Password: fmt.Sprintf("secret_%d", i)}
		create += fmt.Sprintf("; create role %s login password '%s'", places[i].User, places[i].Password)
		drop += "; drop role " + places[i].User
	}
	mustExec(t, pool, create+"; reset password_encryption")
	t.Cleanup(func() { mustExec(t, pool, drop) })
	return places
}

// use runs a statement at d in the way the driver does.
func use(ctx context.Context, pools *plugin.Pools, d plugin.Database) error {
	p, err := pools.Place(ctx, d)
	if err != nil {
		return err
	}
	h, err := take(ctx, p)
	if err != nil {
		return err
	}
	defer h.giveBack()
	_, err = h.conn.Exec(ctx, "select 1")
	return err
}

// held is a connection under a lease.
type held struct {
	conn  *pgxpool.Conn
	lease plugin.Lease
}

func take(ctx context.Context, p plugin.Placement) (*held, error) {
	conn, err := p.Pool.Acquire(ctx)
	if err != nil {
		p.Lease.Release()
		return nil, err
	}
	return &held{conn: conn, lease: p.Lease}, nil
}

// giveBack reports whether the pool has kept the connection.
func (h *held) giveBack() bool {
	kept := h.lease.Keep()
	if !kept {
		_ = h.conn.Conn().Close(context.Background())
	}
	h.conn.Release()
	h.lease.Release()
	return kept
}

// hold takes a connection of d until giveBack.
func hold(t testing.TB, pools *plugin.Pools, d plugin.Database) *held {
	t.Helper()
	p, err := pools.Place(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	h, err := take(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func mustUse(t testing.TB, pools *plugin.Pools, d plugin.Database) {
	t.Helper()
	if err := use(t.Context(), pools, d); err != nil {
		t.Fatal(err)
	}
}

// only returns the state of the one server that there is.
func only(t testing.TB, pools *plugin.Pools) plugin.ServerStats {
	t.Helper()
	all := pools.Stats()
	if len(all) != 1 {
		t.Fatalf("%d servers: %+v", len(all), all)
	}
	return all[0]
}

// users returns who has an open pool.
func users(s plugin.ServerStats) (names []string) {
	for _, p := range s.Places {
		if p.Open > 0 {
			names = append(names, p.User)
		}
	}
	return names
}

// eventually waits until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline, again := time.NewTimer(30*time.Second), time.NewTicker(time.Millisecond)
	defer deadline.Stop()
	defer again.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			t.Fatalf("never: %s", what)
		case <-again.C:
		}
	}
}

// sockets counts the sockets that pools have open.
type sockets struct {
	now, most, ever atomic.Int64
}

func (s *sockets) count(c *pgxpool.Config) error {
	before := c.BeforeConnect
	c.BeforeConnect = func(ctx context.Context, cc *pgx.ConnConfig) error {
		dial, connected := cc.DialFunc, false
		cc.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if connected { // a request to cancel
				return dial(ctx, network, addr)
			}
			return s.dial(ctx, network, addr, dial)
		}
		cc.AfterConnect = func(context.Context, *pgconn.PgConn) error { connected = true; return nil }
		if before != nil {
			return before(ctx, cc)
		}
		return nil
	}
	return nil
}

func (s *sockets) dial(ctx context.Context, network, addr string, dial pgconn.DialFunc) (net.Conn, error) {
	s.ever.Add(1)
	n := s.now.Add(1)
	for most := s.most.Load(); n > most && !s.most.CompareAndSwap(most, n); most = s.most.Load() {
	}
	conn, err := dial(ctx, network, addr)
	if err != nil {
		s.now.Add(-1)
		return nil, err
	}
	return &counted{Conn: conn, gone: sync.OnceFunc(func() { s.now.Add(-1) })}, nil
}

type counted struct {
	net.Conn
	gone func()
}

func (c *counted) Close() error {
	defer c.gone()
	return c.Conn.Close()
}

// silent returns a server that accepts connections and never answers.
func silent(t testing.TB) plugin.Database {
	t.Helper()
	return listen(t, func(net.Conn) {})
}

// listen returns the place of a server that serve plays.
func listen(t testing.TB, serve func(net.Conn)) plugin.Database {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns = append(conns, c)
			serve(c)
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		accepting.Wait()
		for _, c := range conns {
			_ = c.Close()
		}
	})
	return plugin.Database{Server: "postgres://someone:secret@" + l.Addr().String() + "/app?sslmode=disable"}
}
