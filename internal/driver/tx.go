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

// tx ends the transaction of a conn.
type tx struct {
	conn *conn
	ctx  context.Context // BeginTx's: a driver.Tx gets no other
}

var _ driver.Tx = (*tx)(nil)

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
	if c.inTx {
		return nil, errors.New("tenantry: the connection is in a transaction already")
	}
	c.opening = &opening{ctx: ctx, sql: begin, preamble: preamble(ctx, l.target)}
	c.txScope = l.scope
	if HasPreamble(ctx) && !c.opening.preamble.Later {
		if err := c.beginNow(ctx); err != nil {
			c.failed = nil
			c.connector.Counters.Errors.Add(1)
			return nil, err
		}
	}
	c.inTx = true
	c.connector.Counters.Transactions.Add(1)
	return &tx{conn: c, ctx: ctx}, nil
}

// begin sends BEGIN, what comes first and the settings. If they fail, the transaction
// that has begun is ended.
func (l *lease) begin(ctx context.Context, tx *opening, h hygiene) error {
	_, err := l.traced(ctx, tx.sql, func(ctx context.Context) (pgconn.CommandTag, error) {
		_, err := l.message(ctx, l.opener(tx, h, ""), tx.preamble.Rows)
		return pgconn.NewCommandTag("BEGIN"), err
	})
	if err == nil {
		l.fresh = false
		return nil
	}
	if !l.conn().IsClosed() && !l.idle() {
		l.detached(ctx, "rollback")
	}
	return err
}

// opener returns what opens a transaction, and next behind it, as text.
func (l *lease) opener(tx *opening, h hygiene, next string) string {
	target, first, end := *l.target, tx.preamble, ""
	if first.Rows != nil {
		target.Schema = ""
	}
	if first.Query != "" {
		end = "; "
	}
	return tx.sql + "; " + first.SQL + target.script(first, local, h) + first.Query + end + next
}

// showBegin shows the tracer that the transaction begins, with the statement that comes
// next.
func (l *lease) showBegin(ctx context.Context, tx *opening) {
	if tx != nil {
		_, _ = l.traced(ctx, tx.sql, func(context.Context) (pgconn.CommandTag, error) { return pgconn.NewCommandTag("BEGIN"), nil })
	}
}

// message sends text in one simple message, and gives what is copied to rows, if rows is
// not nil. It returns the last command's tag.
func (l *lease) message(ctx context.Context, text string, rows func([]string) error) (pgconn.CommandTag, error) {
	l.link.filter.Mark()
	if rows == nil {
		return l.simple(ctx, text)
	}
	var copied strings.Builder
	tag, err := l.conn().PgConn().CopyTo(ctx, &copied, text)
	if err == nil {
		err = rows(column(copied.String()))
	}
	return tag, err
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

// detached runs a clean-up that must happen even if ctx has ended, and destroys
// the connection if it can't be cleaned.
func (l *lease) detached(ctx context.Context, sql string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	if _, err := l.simple(ctx, sql); err != nil {
		l.destroy()
	}
}

// leave ends the transaction for the shell. It reports whether there is one at the
// server, or why it could not begin.
func (t *tx) leave() (there bool, err error) {
	c := t.conn
	there, err = c.opening == nil && c.failed == nil, c.failed
	c.inTx, c.opening, c.failed = false, nil, nil
	return there, err
}

// Commit commits. Its context is BeginTx's.
func (t *tx) Commit() error {
	last := epilogue(t.ctx)
	if last != "" {
		if err := t.conn.beginNow(t.ctx); err != nil {
			return errors.Join(err, t.Rollback())
		}
	}
	there, err := t.leave()
	if err != nil {
		return errors.Join(pgx.ErrTxCommitRollback, err)
	}
	switch l := t.conn.lease; {
	case !there:
		return nil
	case l.idle() && !l.conn().IsClosed():
		l.destroy()
		return errors.Join(pgx.ErrTxCommitRollback, errEnded)
	}
	if last == "" {
		return t.end(t.ctx, "commit")
	}
	// Cut off, nobody would know whether it took effect: it gets a little longer.
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.ctx))
	defer cancel()
	defer context.AfterFunc(t.ctx, func() { time.AfterFunc(cleanupTimeout, cancel) })()
	return t.end(ctx, last+"; commit")
}

// end sends the last statements of the transaction.
func (t *tx) end(ctx context.Context, sql string) error {
	l := t.conn.lease
	tag, err := l.conn().Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	switch {
	case err == nil && tag.String() == "ROLLBACK": // PostgreSQL's answer to COMMIT after an error
		return pgx.ErrTxCommitRollback
	case err != nil && !l.conn().IsClosed() && !l.idle():
		l.detached(t.ctx, "rollback")
	}
	return err
}

// Rollback rolls back, also when BeginTx's context has ended: that is when
// database/sql calls it by itself.
func (t *tx) Rollback() error {
	if there, _ := t.leave(); !there {
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
