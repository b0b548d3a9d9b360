package driver

import (
	"context"
	"errors"
	"math"

	"github.com/tenantry/tenantry/internal/pgerr"
	"github.com/tenantry/tenantry/internal/sqltext"
)

// phase is how far the transaction of a connection has come.
type phase int

const (
	noTx      phase = iota // there is no transaction
	txPending              // database/sql has begun it, and the server does not know of it yet
	txOpen                 // the server has begun it
	txFailed               // it could not begin, or its beginning was lost: all that can be done is to end it
	phases
)

// reason is why a statement goes to the server once more. The server, or the network, says for each
// of them that nothing of the statement is left.
type reason int

const (
	final reason = iota // no reason: the statement went through, or failed for good

	// foreignTemp: the settings were refused, as the session has temporary tables of somebody else's.
	// The session is replaced; behind a pooler, where it can't be, the tables are dropped.
	foreignTemp

	// foreignRole: the settings were refused, and the session works as another role than the one that
	// logged in: a function has left it so. The session is replaced.
	foreignRole

	// staleName: what the session keeps under a name is gone, or older than what it works on. It failed
	// in Bind. The statement goes without a name; in a transaction a savepoint undoes the failure.
	staleName

	// sessionEnded: the server ended the session before it came to the statement, or nothing was written.
	// The session is replaced.
	sessionEnded

	// silentBreak: the connection broke, and the server has said nothing. Without COMMIT nothing is
	// left of the first statement of a transaction. It may be what breaks the server, and is not tried
	// a third time.
	silentBreak

	// severalCommands: the text has more than one command, and was refused by Parse. It goes as a script.
	severalCommands

	// outsideOnly: the command can't run in a transaction, or its code wants to end one. What it did was
	// rolled back. It goes under settings of the session.
	outsideOnly

	// unparsed: the server can't read a text that begins a transaction, so that it has not begun one.
	// BEGIN goes by itself, and the error becomes that of the statement behind it.
	unparsed

	reasons
)

const (
	// untilNew is the limit of what ends when a new session is met: there are no more old ones than the
	// pool has connections.
	untilNew = math.MaxInt

	// mostEnded is how many sessions in a row may turn out to be ended: after a restart of the server
	// all that lie in the pool are.
	mostEnded = 64
)

// limits says how often a statement is sent again for each reason, by the phase of its transaction.
// COMMIT is never sent again.
var limits = [reasons][phases]int{
	foreignTemp:     {noTx: untilNew, txPending: untilNew},
	foreignRole:     {noTx: untilNew, txPending: untilNew},
	staleName:       {noTx: 1, txPending: 1, txOpen: 1},
	sessionEnded:    {noTx: mostEnded, txPending: mostEnded},
	silentBreak:     {txPending: 1},
	severalCommands: {noTx: 1, txPending: 1},
	outsideOnly:     {noTx: 1},
	unparsed:        {txPending: 1},
}

// reason says why s may go once more, given the reply to it.
func (c *conn) reason(ctx context.Context, s *statement, r reply) reason {
	l := c.lease
	switch {
	case r.err == nil, l.conn().IsClosed() && ctx.Err() != nil:
		return final
	case l.conn().IsClosed() && !l.tainted && neverBegan(r):
		return sessionEnded
	case l.conn().IsClosed() && r.first == 0:
		return silentBreak
	case r.ours && Refuses(r.err, refusalTemp):
		return foreignTemp
	case r.ours && !l.link.pooled() && (pgerr.Is(r.err, pgerr.InsufficientPrivilege) || Refuses(r.err, refusalUsage)):
		return foreignRole
	case pgerr.Is(r.err, pgerr.InvalidSQLStatementName) && (r.ours || r.unbound), r.unbound && !r.ours && mayBeOutdated(r.err):
		return staleName
	case s.form == asText && pgerr.RaisedBy(r.err, pgerr.SyntaxError, "exec_parse_message"):
		return severalCommands
	case s.form == asScript && r.unparsed:
		return unparsed
	case s.form == asText && pgerr.RaisedBy(r.err, pgerr.ActiveSQLTransaction, "PreventInTransactionBlock"),
		s.form == asScript && s.traits.Code && s.traits.Commands == 1 &&
			(pgerr.RaisedBy(r.err, pgerr.ActiveSQLTransaction, "PreventInTransactionBlock") || pgerr.RaisedBy(r.err, pgerr.InvalidTransactionTermination, "_SPI_commit", "_SPI_rollback")):
		return outsideOnly
	}
	return final
}

// prepareRetry makes ready for another try. It reports false if there is to be none.
func (c *conn) prepareRetry(ctx context.Context, why reason, s *statement, r reply) (bool, error) {
	l := c.lease
	switch why {
	case foreignTemp:
		if l.link.pooled() {
			c.rollBack(ctx)
			again := !s.discard
			s.discard = true
			return again, nil
		}
		if l.first {
			return false, errAlwaysTemp
		}
		return true, c.replace(ctx)
	case foreignRole:
		c.rollBack(ctx)
		if l.first || l.worksAsItself(ctx) {
			return false, nil
		}
		return true, c.replace(ctx)
	case sessionEnded, silentBreak:
		return true, c.replace(ctx)
	case staleName:
		if pgerr.Is(r.err, pgerr.InvalidSQLStatementName) {
			l.link.names.forget()
		} else {
			l.link.names.end(l.link.names.hot)
		}
		if c.phase() == txOpen && !l.conn().IsClosed() {
			l.detached(ctx, "rollback to "+l.link.names.savepoint+"; "+l.link.names.release)
		}
		c.rollBack(ctx)
		s.unnamed = true
	case severalCommands:
		c.rollBack(ctx)
		s.form = asScript
	case outsideOnly:
		s.form = asSession
	case unparsed:
		return true, c.beginNow(ctx)
	}
	return true, nil
}

var errAlwaysTemp = errors.New("tenantry: a new session of the pool has temporary tables already: a hook of the pool makes them, and they would be every tenant's")

// replace destroys the session of the lease, and takes another.
func (c *conn) replace(ctx context.Context) error {
	s := c.lease.scope
	c.lease.tainted = true
	if c.phase() == txPending {
		ctx = c.tx.ctx
	}
	_, err := c.lend(ctx, s)
	return err
}

// rollBack ends the transaction that a first statement has begun without success, so that it can
// begin again.
func (c *conn) rollBack(ctx context.Context) {
	if c.phase() == txPending && c.lease != nil && !c.lease.conn().IsClosed() && !c.lease.idle() {
		c.lease.detached(ctx, "rollback")
	}
}

// worksAsItself reports whether the session works as the role that has logged in.
func (l *lease) worksAsItself(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	results, err := l.conn().PgConn().Exec(ctx, "select current_user = session_user and session_user = "+sqltext.Literal(l.conn().Config().User)).ReadAll()
	return err == nil && string(results[0].Rows[0][0]) == "t"
}

// mayBeOutdated reports whether a statement kept by name may fail with err because it is
// older than what it works on. All that is a name's fault fails in Bind.
func mayBeOutdated(err error) bool {
	return pgerr.RaisedBy(err, pgerr.FeatureNotSupported, "RevalidateCachedQuery") || // the columns of the result have changed
		pgerr.In(err, pgerr.SyntaxErrorOrAccessRuleViolation) && !pgerr.Is(err, pgerr.InsufficientPrivilege) ||
		pgerr.Is(err, pgerr.InternalError, // a type is gone
			pgerr.InvalidTextRepresentation, pgerr.NumericValueOutOfRange, pgerr.InvalidDatetimeFormat, pgerr.DatetimeFieldOverflow) // the type of a parameter has changed
}

// neverBegan reports whether the reply says, of a session that is closed, that it was ended before
// anything was begun.
func neverBegan(r reply) bool {
	return !r.sent || pgerr.In(r.err, pgerr.OperatorIntervention) && (r.ours || r.first == 'E')
}
