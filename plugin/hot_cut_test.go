package plugin_test

import (
	"bytes"
	"context"
	"database/sql/driver"
	"errors"
	"net"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/plugin"
)

// cutAfter is a connection that ends with the first message that tells of an error with
// code, as where the session is killed at that moment.
type cutAfter struct {
	net.Conn
	code []byte
	cuts *atomic.Int64
}

func (c *cutAfter) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	at := bytes.Index(p[:n], c.code)
	if at < 0 {
		return n, err
	}
	c.cuts.Add(1)
	_ = c.Close()
	return at + bytes.Index(p[at:n], []byte{0, 0}) + 2, nil // the last field and the end of the message
}

// cutting makes connections break in the moment in which the reply to a message arrives that has the
// word: without a sign of why, the first time.
func cutting(cuts *atomic.Int64, word string) func(*pgxpool.Config) error {
	return dialing(func(c net.Conn) net.Conn { return &cutReply{Conn: c, word: []byte(word), cuts: cuts} })
}

type cutReply struct {
	net.Conn
	word  []byte
	cuts  *atomic.Int64
	armed atomic.Bool
}

func (c *cutReply) Write(p []byte) (int, error) {
	if bytes.Contains(p, c.word) && c.cuts.Load() == 0 {
		c.armed.Store(true)
	}
	return c.Conn.Write(p)
}

func (c *cutReply) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.armed.CompareAndSwap(true, false) {
		c.cuts.Add(1)
		_ = c.Close()
		return 0, net.ErrClosed
	}
	return n, err
}

// dialing puts a wrapper around each connection that a pool opens.
func dialing(wrap func(net.Conn) net.Conn) func(*pgxpool.Config) error {
	return func(c *pgxpool.Config) error {
		c.BeforeConnect = func(_ context.Context, cc *pgx.ConnConfig) error {
			dial := cc.DialFunc
			cc.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := dial(ctx, network, addr)
				return wrap(conn), err
			}
			return nil
		}
		return nil
	}
}

// TestAKeptStatementThatIsOutdatedInASessionThatEnds fails as one whose session has ended, in a
// transaction that had begun: that the columns have changed is not the application's affair. Where
// nothing had begun it is sent on another session.
func TestAKeptStatementThatIsOutdatedInASessionThatEnds(t *testing.T) {
	t.Parallel()
	ways := map[string]func(*gorm.DB, func(*gorm.DB) error) error{
		"by itself":              func(db *gorm.DB, f func(*gorm.DB) error) error { return f(db) },
		"first in a transaction": func(db *gorm.DB, f func(*gorm.DB) error) error { return db.Transaction(f) },
		"later in a transaction": func(db *gorm.DB, f func(*gorm.DB) error) error {
			return db.Transaction(func(tx *gorm.DB) error { return errors.Join(tx.Exec("select 1").Error, f(tx)) })
		},
	}
	for way, run := range ways {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			var cuts atomic.Int64
			db, _, dsn := twoTenants(t, nil, plugin.WithMaxConns(1), plugin.WithPoolConfig(dialing(func(c net.Conn) net.Conn {
				return &cutAfter{Conn: c, code: []byte("C0A000\x00"), cuts: &cuts}
			})))
			a := db.WithContext(as(t, "a"))
			read := func() error {
				return run(a, func(tx *gorm.DB) error { return tx.Find(&[]Invoice{}, "id = ?", 1).Error })
			}
			for range 10 {
				if err := read(); err != nil {
					t.Fatal(err)
				}
			}
			mustExec(t, admin(t, dsn), "alter table tenant_a.invoices alter cents type numeric")
			err := read()
			if cuts.Load() != 1 {
				t.Fatalf("the session was cut %d times", cuts.Load())
			}
			if late := way == "later in a transaction"; late != errors.Is(err, driver.ErrBadConn) || !late && err != nil {
				t.Errorf("the statement failed with %v", err)
			}
			if err := read(); err != nil {
				t.Errorf("the next one failed with %v", err)
			}
		})
	}
}
