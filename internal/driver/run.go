package driver

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tenantry/tenantry/internal/wire"
	"github.com/tenantry/tenantry/scope"
)

// SQLSTATEs that this package acts on (Appendix A of the PostgreSQL manual).
const (
	codeInTransaction = "25001" // refused because it is in a transaction
	codeInvalidText   = "22P02" // of the expressions that refuse
	codeNoSchema      = "3F000"
	codeSyntax        = "42601"
	codeTermination   = "2D000" // code has tried to end a transaction that it may not end
)

// codeOf returns PostgreSQL's code of err, or "".
func codeOf(err error) string {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return pgErr.Code
	}
	return ""
}

// refuses reports whether err is a refusal by one of our own expressions.
func refuses(err error, words string) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.Code == codeInvalidText && strings.Contains(pgErr.Message, words)
}

// sender sends one statement on a lease: exactly one message group, of which it
// reads at least the first reply.
type sender func(*lease) error

// run sends one statement and counts it.
func (c *conn) run(ctx context.Context, oids []uint32, send sender) error {
	err := c.send(ctx, oids, send)
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
// transaction they hold already, outside they travel in a prefix. oids are the
// types of the statement's parameters, or nil.
func (c *conn) send(ctx context.Context, oids []uint32, send sender) error {
	if c.inTx {
		return c.lease.sendTyped(oids, send)
	}
	err := c.hygienic(ctx, func(h hygiene) error { return c.lease.sendUnder(h, oids, send) })
	if err == nil || c.lease == nil || !c.lease.link.filter.PrefixFailed() {
		return err
	}
	return c.lease.failed("apply settings", err)
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
	for refuses(err, refusalTemp) {
		if c.lease.link.pooled() {
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
	_, err := c.lend(ctx, s)
	return err
}

// sendUnder sends one message group behind the target's prefix.
func (l *lease) sendUnder(h hygiene, oids []uint32, send sender) error {
	p, err := l.target.prefix(h)
	if err != nil {
		return err
	}
	err = l.sendArmed(p, oids, send)
	if answered := err == nil || codeOf(err) != ""; answered && l.link.filter.Passed() {
		l.fresh = false
	}
	return err
}

// sendTyped sends one message group as it is, with the types of its parameters.
func (l *lease) sendTyped(oids []uint32, send sender) error {
	if len(oids) == 0 {
		return send(l)
	}
	return l.sendArmed(wire.Prefix{}, oids, send)
}

func (l *lease) sendArmed(p wire.Prefix, oids []uint32, send sender) error {
	l.link.filter.Arm(p, oids)
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
	return refuses(err, refusalUsage) ||
		errors.As(err, &pgErr) && pgErr.Code == codeNoSchema && l.target.Schema != "" && strings.Contains(pgErr.Message, l.target.Schema)
}

// failed says what was tried for which tenant, and what to do if its schema
// does not exist.
func (l *lease) failed(op string, err error) error {
	switch {
	case codeOf(err) == codeNoSchema && l.scope.Shared:
		err = fmt.Errorf("%w: create it, or name the schema of the shared tables with plugin.WithSharedScope", err)
	case codeOf(err) == codeNoSchema && l.target.Managed:
		err = fmt.Errorf("%w: the tenant's schema is gone: restore it from a backup, or drop the tenant", err)
	case codeOf(err) == codeNoSchema:
		err = fmt.Errorf("%w: run the migrator, which creates it, or check the strategy's schema names", err)
	case refuses(err, refusalUsage):
		err = fmt.Errorf("%w: grant USAGE on schema %q to the role that the tenant's statements run as", err, l.target.Schema)
	}
	return &scope.TenantError{Op: op, Tenant: l.scope.Tenant, Err: err}
}
