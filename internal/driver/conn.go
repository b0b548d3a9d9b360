package driver

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// conn is a shell that holds a lease from the first statement on until
// database/sql takes the shell back. It promises what these interfaces say;
// a forgotten one would fail silently.
type conn struct {
	connector *Connector
	lease     *lease       // nil while the shell is empty
	tx        *transaction // between BeginTx and Commit or Rollback, otherwise nil
	noControl bool         // RefuseControl was sent: text may neither begin nor end a transaction
}

var (
	_ driver.Conn               = (*conn)(nil)
	_ driver.ConnBeginTx        = (*conn)(nil)
	_ driver.ConnPrepareContext = (*conn)(nil)
	_ driver.QueryerContext     = (*conn)(nil)
	_ driver.ExecerContext      = (*conn)(nil)
	_ driver.NamedValueChecker  = (*conn)(nil)
	_ driver.Pinger             = (*conn)(nil)
	_ driver.SessionResetter    = (*conn)(nil)
	_ driver.Validator          = (*conn)(nil) // gives the pgx connection back
)

// IsValid ends the lease. database/sql calls it whenever the shell goes back to
// its pool, where it may lie for long and come out without ResetSession.
func (c *conn) IsValid() bool {
	_ = c.Close() // the shell stays good, whatever became of the real connection
	return true
}

// ResetSession has nothing to reset: a shell in the pool is empty.
func (c *conn) ResetSession(context.Context) error { return nil }

// Close ends the lease.
func (c *conn) Close() error {
	c.tx, c.noControl = nil, false
	return c.empty()
}

func (c *conn) empty() error {
	if c.lease == nil {
		return nil
	}
	l := c.lease
	c.lease = nil
	return l.release()
}

// Ping asks the base pool, or the real connection if the shell holds one. It
// carries no statement, so it needs no scope. stdlib's own Ping would give a
// connection that does not answer back to its pool, from under the lease.
func (c *conn) Ping(ctx context.Context) error {
	if c.lease == nil {
		return c.connector.Lend(ctx, &Target{Pool: c.connector.Base}, func(conn *pgx.Conn) error { return conn.Ping(ctx) })
	}
	return retryable(c.lease.conn().Ping(ctx))
}

// CheckNamedValue leaves every value as it is: pgx knows more types than
// database/sql.
func (c *conn) CheckNamedValue(*driver.NamedValue) error { return nil }

// enter returns the lease for a statement under ctx. It is the one gate: what
// has no scope, or another scope than the open transaction, ends here.
func (c *conn) enter(ctx context.Context) (*lease, error) {
	s, err := c.connector.scopeOf(ctx)
	if err != nil {
		c.connector.Counters.Refused.Add(1)
		return nil, err
	}
	switch {
	case c.tx != nil:
		return c.enterTx(s)
	case c.lease != nil && c.lease.scope == s && !c.lease.conn().IsClosed():
		return c.lease, nil
	case c.lease != nil && c.lease.conn().PgConn().IsBusy():
		return nil, errors.New("tenantry: the connection still reads rows of another scope: close them first")
	}
	return c.lend(ctx, s)
}

var errEnded = errors.New("tenantry: SQL text has ended the transaction, and its settings with it: use Commit or Rollback")

// enterTx returns the lease of the open transaction, if s may use it.
func (c *conn) enterTx(s Scope) (*lease, error) {
	switch {
	case s != c.tx.scope:
		c.connector.Counters.Mismatched.Add(1)
		return nil, c.tx.scope.mismatch(s)
	case c.tx.phase == txFailed:
		return nil, fmt.Errorf("tenantry: the transaction could not begin: %w", c.tx.err)
	case c.tx.phase == txOpen && c.lease.idle() && !c.lease.conn().PgConn().IsBusy() && !c.lease.conn().IsClosed():
		return nil, errEnded
	}
	return c.lease, nil
}

// lend fills the shell with a connection for s, and counts it as an error if there is
// none to be had.
func (c *conn) lend(ctx context.Context, s Scope) (*lease, error) {
	l, err := c.borrow(ctx, s)
	if err != nil {
		c.connector.Counters.Errors.Add(1)
	}
	return l, err
}

func (c *conn) borrow(ctx context.Context, s Scope) (*lease, error) {
	if err := c.empty(); err != nil {
		return nil, err
	}
	t, err := c.connector.Locator.Locate(ctx, s)
	if err != nil {
		return nil, s.describe("place", err)
	}
	if more := settingsOf(ctx); len(more) > 0 {
		t.Settings = slices.Concat(t.Settings, more)
	}
	l, err := acquire(ctx, s, &t, c.connector.sharing(&t))
	if err != nil {
		return nil, s.describe("connect", err)
	}
	c.lease = l
	return l, nil
}
