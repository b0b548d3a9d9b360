package driver

import (
	"context"
	"database/sql/driver"
	"errors"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tenantry/tenantry/internal/pgerr"
)

// opening is a transaction that the server does not know of yet. BEGIN travels with the
// first statement, in one round trip: until then there is nothing to hold on to.
type opening struct {
	ctx      context.Context // BeginTx's: it says where the transaction takes place
	sql      string          // BEGIN
	preamble Preamble
}

// mostRefused is how many connections in a row may turn out to be ended when a transaction
// begins: after a restart of the server all that lie in the pool are.
const mostRefused = 16

// unbroken calls try, and again on another connection if the one that c has is found to
// be ended, so that nothing was begun. If it breaks without a word nobody knows whether
// the statement was begun: nothing of it is left without COMMIT, and it is tried once more,
// but not again, as it may be what breaks the server.
func (c *conn) unbroken(ctx context.Context, try func() error) error {
	err := try()
	for n, silent := 0, 0; n < mostRefused && err != nil && c.lease != nil && c.lease.conn().IsClosed() && ctx.Err() == nil; n++ {
		if !c.lease.ended(err) {
			if silent++; silent > 1 || c.lease.link.filter.First() != 0 {
				return err
			}
		}
		if err := c.replace(ctx); err != nil {
			return err
		}
		err = try()
	}
	return err
}

// ended reports whether err says that the session was ended before anything was begun:
// it is the first thing that the server has said, or nothing was sent.
func (l *lease) ended(err error) bool {
	return l.link.filter.First() == 'E' && pgerr.In(err, pgerr.OperatorIntervention) || errors.Is(retryable(err), driver.ErrBadConn)
}

// begun is called with how the first statement went. Where the server knows of the
// transaction it also knows of the error, and where nothing was sent, nothing has
// happened. Elsewhere the transaction has failed, or what comes next would begin it
// without its first statement.
func (c *conn) begun(err error) error {
	switch {
	case err == nil || c.lease != nil && !c.lease.conn().IsClosed() && !c.lease.idle():
		c.opening = nil
	case c.lease == nil || c.lease.conn().IsClosed() && c.lease.ended(err):
		return c.refuse(err)
	case c.lease.conn().IsClosed() || c.lease.link.filter.First() != 0:
		c.failed, c.opening = err, nil
	}
	return err
}

// refuse ends a transaction that could not begin.
func (c *conn) refuse(err error) error {
	if c.lease != nil {
		err = c.lease.failed("begin", retryable(err))
	}
	c.failed = err
	if refused := c.opening.preamble.Refused; refused != nil {
		refused(err)
	}
	c.opening = nil
	return err
}

// rollBack ends the transaction that a first statement has begun in vain, so that it
// can begin again.
func (c *conn) rollBack(ctx context.Context) {
	if c.opening != nil && !c.lease.conn().IsClosed() && !c.lease.idle() {
		c.lease.detached(ctx, "rollback")
	}
}

// beginNow sends BEGIN by itself, if it is still to be sent.
func (c *conn) beginNow(ctx context.Context) error {
	tx := c.opening
	if tx == nil {
		return nil
	}
	err := c.unbroken(ctx, func() error {
		return c.hygienic(ctx, func(h hygiene) error { return c.lease.begin(ctx, tx, h) })
	})
	if err != nil {
		return c.refuse(err)
	}
	c.opening = nil
	return nil
}

// execFirst sends a text as the first of its transaction, in one message with BEGIN. If
// it fails both are sent again one by one, and so what failed is known; unless it waited
// for others in vain, as what comes in front of it does not.
func (c *conn) execFirst(ctx context.Context, query string) (tag pgconn.CommandTag, err error) {
	tx := c.opening
	err = c.unbroken(ctx, func() error {
		return c.hygienic(ctx, func(h hygiene) error {
			l := c.lease
			l.showBegin(ctx, tx)
			tag, err = l.traced(ctx, query, func(ctx context.Context) (pgconn.CommandTag, error) {
				return l.message(ctx, l.opener(tx, h, query), tx.preamble.Rows)
			})
			return err
		})
	})
	if err == nil {
		c.lease.fresh = false
		c.opening = nil
		return tag, nil
	}
	if c.lease == nil || c.lease.conn().IsClosed() || isWaiting(err) {
		return tag, c.begun(err)
	}
	c.rollBack(ctx)
	if err := c.beginNow(ctx); err != nil {
		return tag, err
	}
	return c.lease.conn().Exec(ctx, query)
}

// isWaiting reports whether err is that a statement has waited for others in vain, or
// was cut off.
func isWaiting(err error) bool {
	return pgerr.Is(err, pgerr.LockNotAvailable, pgerr.DeadlockDetected) || pgerr.In(err, pgerr.OperatorIntervention)
}
