package driver

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// preambleKey is the context key of WithPreamble.
type preambleKey struct{}

// WithPreamble returns a context whose transactions run SQL between BEGIN and
// the target's settings, in the same round trip. The target's schema need not
// exist yet: the migrator locks and creates it there. An empty string adds nothing.
func WithPreamble(ctx context.Context, sql func(*Target) string) context.Context {
	return context.WithValue(ctx, preambleKey{}, sql)
}

// HasPreamble reports whether WithPreamble made ctx.
func HasPreamble(ctx context.Context) bool {
	_, ok := ctx.Value(preambleKey{}).(func(*Target) string)
	return ok
}

func preamble(ctx context.Context, t *Target) string {
	if sql, ok := ctx.Value(preambleKey{}).(func(*Target) string); ok {
		return sql(t)
	}
	return ""
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
	tx   pgx.Tx
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
	begin += "; " + preamble(ctx, l.target)
	t, err := c.begin(ctx, begin)
	if err != nil {
		c.connector.Counters.Errors.Add(1)
		return nil, err
	}
	c.inTx = true
	c.connector.Counters.Transactions.Add(1)
	return &tx{conn: c, ctx: ctx, tx: t}, nil
}

// begin begins on a session without anybody's temporary tables, like send.
func (c *conn) begin(ctx context.Context, begin string) (t pgx.Tx, err error) {
	err = c.hygienic(ctx, func(h hygiene) error {
		t, err = c.lease.begin(ctx, begin, h)
		return err
	})
	if err != nil && c.lease != nil {
		err = c.lease.failed("begin", retryable(err))
	}
	return t, err
}

// begin sends BEGIN and the settings. If the settings fail, the transaction
// that has begun is ended.
func (l *lease) begin(ctx context.Context, begin string, h hygiene) (pgx.Tx, error) {
	t, err := l.conn().BeginTx(ctx, pgx.TxOptions{BeginQuery: begin + l.target.script(local, h)})
	if err == nil {
		l.fresh = false
		return t, nil
	}
	if !l.conn().IsClosed() && !l.idle() {
		l.detached(ctx, "rollback")
	}
	return nil, err
}

// detached runs a clean-up that must happen even if ctx has ended, and destroys
// the connection if it can't be cleaned.
func (l *lease) detached(ctx context.Context, sql string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	if _, err := l.conn().Exec(ctx, sql); err != nil {
		l.destroy()
	}
}

// Commit commits. Its context is BeginTx's.
func (t *tx) Commit() error {
	t.conn.inTx = false
	last := epilogue(t.ctx)
	if last == "" {
		return t.tx.Commit(t.ctx)
	}
	// Cut off, nobody would know whether it took effect: it gets a little longer.
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.ctx))
	defer cancel()
	defer context.AfterFunc(t.ctx, func() { time.AfterFunc(cleanupTimeout, cancel) })()
	_, err := t.tx.Conn().Exec(ctx, last+"; commit", pgx.QueryExecModeSimpleProtocol)
	if err != nil && !t.tx.Conn().IsClosed() && !t.conn.lease.idle() {
		t.conn.lease.detached(t.ctx, "rollback")
	}
	return err
}

// Rollback rolls back, also when BeginTx's context has ended: that is when
// database/sql calls it by itself.
func (t *tx) Rollback() error {
	t.conn.inTx = false
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.ctx), cleanupTimeout)
	defer cancel()
	return t.tx.Rollback(ctx)
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
