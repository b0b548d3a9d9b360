package driver

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
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
	// schema need not exist yet: the migrator locks and creates it there.
	SQL string
	// Query runs under the settings. Rows gets the first column of what it returns.
	Query string
	Rows  func([]string)
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

// BeginTx begins a transaction whose settings are set in the same message as
// BEGIN and end with it.
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
	if err := c.begin(ctx, begin, preamble(ctx, l.target)); err != nil {
		c.connector.Counters.Errors.Add(1)
		return nil, err
	}
	c.inTx = true
	c.connector.Counters.Transactions.Add(1)
	return &tx{conn: c, ctx: ctx}, nil
}

// begin begins on a session without anybody's temporary tables, like send.
func (c *conn) begin(ctx context.Context, begin string, first Preamble) error {
	err := c.hygienic(ctx, func(h hygiene) error { return c.lease.begin(ctx, begin, first, h) })
	if err != nil && c.lease != nil {
		err = c.lease.failed("begin", retryable(err))
	}
	return err
}

// begin sends BEGIN, what comes first and the settings. If they fail, the transaction
// that has begun is ended.
func (l *lease) begin(ctx context.Context, begin string, first Preamble, h hygiene) error {
	text := begin + "; " + first.SQL + l.target.script(local, h) + first.Query
	_, err := l.traced(ctx, begin, func(ctx context.Context) (pgconn.CommandTag, error) {
		return pgconn.NewCommandTag("BEGIN"), l.beginReading(ctx, text, first.Rows)
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

// beginReading sends BEGIN and what follows, and gives the first column of the last
// result to rows, if rows is not nil.
func (l *lease) beginReading(ctx context.Context, text string, rows func([]string)) error {
	if rows == nil {
		_, err := l.simple(ctx, text, nil)
		return err
	}
	var last []string
	_, err := l.simple(ctx, text, func(r *pgconn.ResultReader) {
		for last = nil; r.NextRow(); {
			last = append(last, string(r.Values()[0]))
		}
	})
	if err == nil {
		rows(last)
	}
	return err
}

// detached runs a clean-up that must happen even if ctx has ended, and destroys
// the connection if it can't be cleaned.
func (l *lease) detached(ctx context.Context, sql string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	if _, err := l.simple(ctx, sql, nil); err != nil {
		l.destroy()
	}
}

// Commit commits. Its context is BeginTx's.
func (t *tx) Commit() error {
	t.conn.inTx = false
	last := epilogue(t.ctx)
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
	t.conn.inTx = false
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
