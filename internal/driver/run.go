package driver

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tenantry/tenantry/internal/pgerr"
	"github.com/tenantry/tenantry/internal/wire"
)

const codeNoSetting = pgerr.UndefinedObject // of the expressions that refuse

// sender sends one statement on a lease: exactly one message group, of which it
// reads at least the first reply.
type sender func(*lease) error

// outgoing is what is known of the statement of a message group.
type outgoing struct {
	query   string
	oids    []uint32            // the types of its parameters, or nil
	repeats bool                // it is of the kind that an application sends again and again
	args    []driver.NamedValue // as pgx gets them, behind the query mode
}

// run sends one statement and counts it.
func (c *conn) run(ctx context.Context, o outgoing, send sender) error {
	err := c.send(ctx, o, send)
	c.count(err)
	return err
}

func (c *conn) count(err error) {
	c.connector.Counters.Statements.Add(1)
	if err != nil && !errors.Is(err, driver.ErrBadConn) {
		c.connector.Counters.Errors.Add(1)
	}
}

// send sends one statement under the settings of the lease's target. In a
// transaction that has begun they hold already, elsewhere they travel in a prefix.
func (c *conn) send(ctx context.Context, o outgoing, send sender) error {
	if c.inTx && c.opening == nil {
		return c.lease.sendWithin(ctx, o, send)
	}
	err := c.sendFirst(ctx, o, send)
	if err == nil || c.failed != nil || c.lease == nil || !c.lease.link.filter.PrefixFailed() {
		return err
	}
	op := "apply settings"
	if c.inTx {
		op = "begin"
	}
	return c.lease.failed(op, err)
}

// sendFirst sends a statement that is the only one of its transaction, or the first.
// Nothing of it is left when it fails, and so it is sent once more, without a name, if
// the name may be to blame.
func (c *conn) sendFirst(ctx context.Context, o outgoing, send sender) error {
	attempt := func() error {
		return c.hygienic(ctx, func(h hygiene) error { return c.lease.sendUnder(ctx, h, c.opening, o, send) })
	}
	if c.opening == nil {
		return c.unlessOutlived(ctx, &o, attempt)
	}
	if !c.opening.preamble.empty() {
		if err := c.beginNow(ctx); err != nil {
			return err
		}
		return c.lease.sendTyped(o.oids, send)
	}
	return c.begun(c.unbroken(ctx, func() error { return c.unlessOutlived(ctx, &o, attempt) }))
}

// unlessOutlived attempts to send o, and once more if its name has outlived what it
// stands for.
func (c *conn) unlessOutlived(ctx context.Context, o *outgoing, attempt func() error) error {
	err := attempt()
	if c.lease == nil || !c.lease.outlived(err) {
		return err
	}
	c.rollBack(ctx)
	o.repeats = false
	return attempt()
}

// hygienic calls try so that it meets no temporary tables of anybody else's. The
// guard against them stands first, so when it refuses nothing has run. A session
// of our own is then replaced, one behind a pooler is cleaned in the same
// message.
func (c *conn) hygienic(ctx context.Context, try func(hygiene) error) error {
	if !c.lease.fresh && !c.lease.link.pooled() {
		return try(trusting)
	}
	err := try(guarded)
	for Refuses(err, refusalTemp) {
		if c.lease.link.pooled() {
			c.rollBack(ctx)
			return try(cleaned)
		}
		if c.lease.first {
			return errAlwaysTemp
		}
		if err := c.replace(ctx); err != nil {
			return err
		}
		err = try(guarded)
	}
	return err
}

var errAlwaysTemp = errors.New("tenantry: a new session of the pool has temporary tables already: a hook of the pool makes them, and they would be every tenant's")

// replace destroys the session that a temporary table was left in, and takes
// another.
func (c *conn) replace(ctx context.Context) error {
	s := c.lease.scope
	c.lease.tainted = true
	if c.opening != nil {
		ctx = c.opening.ctx
	}
	_, err := c.lend(ctx, s)
	return err
}

// sendUnder sends one message group behind BEGIN, if the transaction is still to be
// opened, and the target's settings.
func (l *lease) sendUnder(ctx context.Context, h hygiene, tx *opening, o outgoing, send sender) error {
	g, err := l.compose(h, tx, o)
	if err != nil {
		return err
	}
	l.showBegin(ctx, tx)
	passed, err := l.sendSettled(g, send)
	if passed {
		l.fresh = false
	}
	return err
}

// sendSettled sends one message group and notes which of its names there are now. passed is that
// nothing of what was added to it was refused.
func (l *lease) sendSettled(g wire.Group, send sender) (passed bool, err error) {
	err = l.sendArmed(g, send)
	f := l.link.filter
	passed = f.Passed() && (err == nil || pgerr.Code(err) != "")
	if f.Sent() {
		l.link.names.settle(f, passed, err == nil)
	}
	return passed, err
}

// sendWithin sends one message group in a transaction that has begun, where the settings hold
// already. A statement that the session keeps is bound in a savepoint: where it can't be, because it is
// older than what it works on, nothing is lost, and it is sent once more, without its name; if the
// session has ended meanwhile, that is what it fails with then. It is executed behind the savepoint:
// what writes in one takes a transaction ID of its own.
func (l *lease) sendWithin(ctx context.Context, o outgoing, send sender) error {
	g, err := l.composeWithin(o)
	if err != nil {
		return err
	}
	if g.Name == "" {
		return l.sendTyped(o.oids, send)
	}
	_, err = l.sendSettled(g, send)
	if !l.outlived(err) || !l.link.filter.Unbound() {
		return err
	}
	if !l.conn().IsClosed() {
		l.detached(ctx, "rollback to "+l.link.names.savepoint+"; "+l.link.names.release)
	}
	return l.sendTyped(o.oids, send)
}

// sendTyped sends one message group as it is, with the types of its parameters.
func (l *lease) sendTyped(oids []uint32, send sender) error {
	if len(oids) == 0 {
		return send(l)
	}
	return l.sendArmed(wire.Group{OIDs: oids}, send)
}

func (l *lease) sendArmed(g wire.Group, send sender) error {
	l.link.filter.Arm(g)
	err := send(l)
	if sent := l.link.filter.Disarm(); !sent && err == nil {
		l.tainted = true
		return errors.New("tenantry: a statement passed without its settings; this is a bug of tenantry")
	}
	return err
}

// refusesSchema reports whether err says that the tenant's schema is not there or
// not to be used, where it may be an error of the user's text too.
func (l *lease) refusesSchema(err error) bool {
	var pgErr *pgconn.PgError
	return Refuses(err, refusalUsage) ||
		errors.As(err, &pgErr) && pgErr.Code == pgerr.InvalidSchemaName && l.target.Schema != "" && strings.Contains(pgErr.Message, l.target.Schema)
}

// failed says what was tried for which tenant, and what to do if its schema
// does not exist.
func (l *lease) failed(op string, err error) error {
	switch {
	case pgerr.Is(err, pgerr.InvalidSchemaName) && l.scope.Shared:
		err = fmt.Errorf("%w: create it, or name the schema of the shared tables with plugin.WithSharedScope", err)
	case pgerr.Is(err, pgerr.InvalidSchemaName) && l.target.Managed:
		err = fmt.Errorf("%w: the tenant's schema is gone: restore it from a backup, or drop the tenant", err)
	case pgerr.Is(err, pgerr.InvalidSchemaName):
		err = fmt.Errorf("%w: run the migrator, which creates it, or check the strategy's schema names", err)
	case Refuses(err, refusalUsage):
		err = fmt.Errorf("%w: grant USAGE on schema %q to the role that the tenant's statements run as", err, l.target.Schema)
	}
	return l.scope.describe(op, err)
}
