package driver

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// preambleKey is the context key of WithPreamble.
type preambleKey struct{}

// Preamble is what a transaction does before anything else, in the round trip of
// BEGIN. Its zero value is nothing.
type Preamble struct {
	// SQL is statements that run before the target's settings are set. The target's
	// schema need not exist yet: the migrator creates it there.
	SQL string
	// Lead is an expression that is evaluated in front of the settings, in their query: a
	// query of its own would take the server longer.
	Lead string
	// Unless is a condition without which the transaction is refused with Words; "" is
	// none.
	Unless, Words string
	// Query is statements that run under the settings.
	Query string
	// Rows gets what Query copies, one column to STDOUT in text format; nil if it copies
	// nothing. What it copies is in the target's schema, by its qualified name, and so
	// fails as the check of the schema would, which is left out. An error ends the
	// transaction.
	Rows func([]string) error
	// Later lets all this come with the first statement, if that is a text without
	// arguments, and in front of it otherwise.
	Later bool
	// Refused is told why the transaction could not begin when it came later, in case
	// that whoever sent the first statement keeps it to himself. Nil if nobody asks.
	Refused func(error)
}

// empty reports whether nothing is to be done before anything else.
func (p *Preamble) empty() bool {
	return p.SQL == "" && p.Lead == "" && p.Query == "" && p.Rows == nil
}

// WithPreamble returns a context whose transactions begin with a preamble.
func WithPreamble(ctx context.Context, preamble func(*Target) Preamble) context.Context {
	return context.WithValue(ctx, preambleKey{}, preamble)
}

// HasPreamble reports whether WithPreamble made ctx.
func HasPreamble(ctx context.Context) bool {
	_, ok := ctx.Value(preambleKey{}).(func(*Target) Preamble)
	return ok
}

func preamble(ctx context.Context, t *Target) Preamble {
	if of, ok := ctx.Value(preambleKey{}).(func(*Target) Preamble); ok {
		return of(t)
	}
	return Preamble{}
}

// epilogueKey is the context key of WithEpilogue.
type epilogueKey struct{}

// WithEpilogue returns a context whose transactions run SQL before COMMIT, in the
// same round trip. It is asked for when the transaction is to be committed; an
// empty string adds nothing.
func WithEpilogue(ctx context.Context, sql func() string) context.Context {
	return context.WithValue(ctx, epilogueKey{}, sql)
}

func epilogue(ctx context.Context) string {
	if sql, ok := ctx.Value(epilogueKey{}).(func() string); ok {
		return sql()
	}
	return ""
}

// transaction is what database/sql has begun on a connection. BEGIN travels with the first
// statement, in one round trip: until then the server does not know of it.
type transaction struct {
	conn     *conn
	ctx      context.Context // BeginTx's: it says where the transaction takes place
	scope    Scope
	begin    string // SQL
	preamble Preamble
	phase    phase // pending, open or failed
	err      error // why it failed
}

var _ driver.Tx = (*transaction)(nil)

// phase returns how far the transaction of the connection has come.
func (c *conn) phase() phase {
	if c.tx == nil {
		return noTx
	}
	return c.tx.phase
}

// Begin is what database/sql calls without a context, and so without a scope.
func (c *conn) Begin() (driver.Tx, error) {
	return c.BeginTx(context.Background(), driver.TxOptions{})
}

// BeginTx begins a transaction whose settings are set in the same message as BEGIN
// and end with it. The server learns of it with the first statement, unless ctx has a
// preamble that comes at once.
func (c *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	begin, err := beginSQL(opts)
	if err != nil {
		return nil, err
	}
	l, err := c.enter(ctx)
	if err != nil {
		return nil, err
	}
	if c.tx != nil {
		return nil, errors.New("tenantry: the connection is in a transaction already")
	}
	c.tx = &transaction{conn: c, ctx: ctx, scope: l.scope, begin: begin, preamble: preamble(ctx, l.target), phase: txPending}
	if HasPreamble(ctx) && !c.tx.preamble.Later {
		if err := c.beginNow(ctx); err != nil {
			c.tx = nil
			c.connector.Counters.Errors.Add(1)
			return nil, err
		}
	}
	c.connector.Counters.Transactions.Add(1)
	return c.tx, nil
}

// beginNow sends BEGIN by itself, if it is still to be sent.
func (c *conn) beginNow(ctx context.Context) error {
	if c.phase() != txPending {
		return nil
	}
	return c.do(ctx, &statement{form: asBegin})
}

// exchangeFirst sends the text of s behind BEGIN, what comes first and the settings, in one message;
// or only these.
func (t *transaction) exchangeFirst(ctx context.Context, l *lease, s *statement) (r reply) {
	target, end := *l.target, ""
	if t.preamble.Rows != nil {
		target.Schema = ""
	}
	if t.preamble.Query != "" {
		end = "; "
	}
	lead := t.begin + "; " + t.preamble.SQL + target.script(t.preamble, local, l.temp(s)) + t.preamble.Query + end
	if s.form == asBegin {
		_, _ = l.traced(ctx, t.begin, func(ctx context.Context) (pgconn.CommandTag, error) {
			_, r = l.message(ctx, lead, "", t.preamble.Rows)
			return pgconn.NewCommandTag("BEGIN"), r.err
		})
		return r
	}
	t.show(ctx, l)
	return l.exchangeScript(ctx, lead, s, t.preamble.Rows)
}

// show shows the tracer that the transaction begins, with the statement that comes next.
func (t *transaction) show(ctx context.Context, l *lease) {
	_, _ = l.traced(ctx, t.begin, func(context.Context) (pgconn.CommandTag, error) { return pgconn.NewCommandTag("BEGIN"), nil })
}

// began is called with the last reply to the first statement. The transaction is open if the server
// says so, and failed if it could not begin or nobody knows; if nothing was sent, it is still to
// begin.
func (c *conn) began(ctx context.Context, s *statement, r reply) error {
	t, l := c.tx, c.lease
	switch {
	case r.err == nil:
		t.phase = txOpen
	case l == nil, s.form == asBegin, r.ours, l.conn().IsClosed() && neverBegan(r):
		c.rollBack(ctx)
		return c.refuse(r.err)
	case !l.conn().IsClosed() && !l.idle(): // the statement failed in the transaction
		t.phase = txOpen
	case l.conn().IsClosed() || r.first != 0:
		t.phase, t.err = txFailed, r.err
	}
	return r.err
}

// refuse ends a transaction that could not begin.
func (c *conn) refuse(err error) error {
	if c.lease != nil {
		err = c.lease.failed("begin", retryable(err))
	}
	c.tx.phase, c.tx.err = txFailed, err
	if refused := c.tx.preamble.Refused; refused != nil {
		refused(err)
	}
	return err
}

// Commit commits. Its context is BeginTx's.
func (t *transaction) Commit() error {
	c, last := t.conn, epilogue(t.ctx)
	if last != "" {
		if err := c.beginNow(t.ctx); err != nil {
			return errors.Join(err, t.Rollback())
		}
	}
	c.tx = nil
	switch l := c.lease; {
	case t.phase == txFailed:
		return errors.Join(pgx.ErrTxCommitRollback, t.err)
	case t.phase == txPending:
		return nil
	case l.idle() && !l.conn().IsClosed():
		l.destroy()
		return errors.Join(pgx.ErrTxCommitRollback, errEnded)
	}
	if last == "" {
		return t.end(t.ctx, "")
	}
	// Cut off, nobody would know whether it took effect: it gets a little longer.
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.ctx))
	defer cancel()
	defer context.AfterFunc(t.ctx, func() { time.AfterFunc(cleanupTimeout, cancel) })()
	return t.end(ctx, last+"; ")
}

// end sends the last statements, which are this package's, and COMMIT.
func (t *transaction) end(ctx context.Context, last string) error {
	l := t.conn.lease
	var r reply
	tag, _ := l.traced(ctx, last+"commit", func(ctx context.Context) (tag pgconn.CommandTag, err error) {
		tag, r = l.message(ctx, last, "commit", nil)
		return tag, r.err
	})
	switch {
	case r.err == nil && tag.String() == "ROLLBACK": // PostgreSQL's answer to COMMIT after an error
		return pgx.ErrTxCommitRollback
	case r.err != nil && !l.conn().IsClosed() && !l.idle():
		l.detached(t.ctx, "rollback")
	}
	return r.err
}

// Rollback rolls back, also when BeginTx's context has ended: that is when
// database/sql calls it by itself.
func (t *transaction) Rollback() error {
	t.conn.tx = nil
	if t.phase != txOpen {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.ctx), cleanupTimeout)
	defer cancel()
	_, err := t.conn.lease.conn().Exec(ctx, "rollback")
	if err != nil {
		t.conn.lease.destroy()
	}
	return err
}

// beginSQL returns BEGIN with the options of database/sql.
func beginSQL(opts driver.TxOptions) (string, error) {
	sql, err := isolation(opts)
	if err != nil {
		return "", err
	}
	if opts.ReadOnly {
		sql += " read only"
	}
	return sql, nil
}

func isolation(opts driver.TxOptions) (string, error) {
	switch level := sql.IsolationLevel(opts.Isolation); level {
	case sql.LevelDefault:
		return "begin", nil
	case sql.LevelReadUncommitted:
		return "begin isolation level read uncommitted", nil
	case sql.LevelReadCommitted:
		return "begin isolation level read committed", nil
	case sql.LevelRepeatableRead, sql.LevelSnapshot:
		return "begin isolation level repeatable read", nil
	case sql.LevelSerializable:
		return "begin isolation level serializable", nil
	default:
		return "", fmt.Errorf("tenantry: PostgreSQL has no isolation level %q: %w", level, errors.ErrUnsupported)
	}
}

// detached runs a clean-up that must happen even if ctx has ended, and destroys
// the connection if it can't be cleaned.
func (l *lease) detached(ctx context.Context, sql string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	if _, err := l.simple(ctx, sql); err != nil {
		l.destroy()
	}
}

// column returns the values of one column as COPY sends it in text format.
func column(copied string) []string {
	if copied == "" {
		return nil
	}
	values := strings.Split(strings.TrimSuffix(copied, "\n"), "\n")
	if strings.Contains(copied, `\`) { // rare, and takes longer
		for i, v := range values {
			values[i] = copyEscapes.Replace(v)
		}
	}
	return values
}

// copyEscapes undoes what COPY does to the text of a value (the PostgreSQL manual, COPY,
// File Formats).
var copyEscapes = strings.NewReplacer(`\\`, `\`, `\b`, "\b", `\f`, "\f", `\n`, "\n", `\r`, "\r", `\t`, "\t", `\v`, "\v")
