package driver

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tenantry/tenantry/internal/pgerr"
	"github.com/tenantry/tenantry/internal/sqltext"
)

var errSessionPooled = errors.New("behind a transaction pooler a statement that can't run in a transaction can't be given a tenant: connect directly for it")

// execText runs a text without arguments: DDL or a script.
func (c *conn) execText(ctx context.Context, query string, t sqltext.Traits) (driver.Result, error) {
	var tag pgconn.CommandTag
	var err error
	switch {
	case c.opening != nil && t.Commands > 0:
		tag, err = c.execFirst(ctx, query)
	case c.opening != nil:
		if err = c.beginNow(ctx); err == nil {
			tag, err = c.lease.conn().Exec(ctx, query)
		}
	case c.inTx, t.Commands == 0:
		tag, err = c.lease.conn().Exec(ctx, query) // all of it has the transaction's settings
	default:
		tag, err = c.execImplicit(ctx, query, t)
	}
	err = retryable(err)
	c.count(err)
	if err != nil {
		return nil, err
	}
	return driver.RowsAffected(tag.RowsAffected()), nil
}

// execImplicit runs a text outside a transaction. It is first sent like any
// other statement, unless it shows that it is several. The server refuses what
// can't be sent so before any of it has run: several statements in one text, or one
// that can't run in a transaction.
//
// CALL and DO start as a script: there the server lets their code end no
// transaction, and with it the settings. Code that does is refused with all
// that it did, and is run again under settings of the session.
func (c *conn) execImplicit(ctx context.Context, query string, t sqltext.Traits) (tag pgconn.CommandTag, err error) {
	switch {
	case t.Code:
		tag, err = c.execScript(ctx, query)
	case t.Commands > 1:
		return c.execScript(ctx, query)
	default:
		err = c.send(ctx, outgoing{query: query, repeats: t.Repeats}, func(l *lease) error {
			tag, err = execExtended(ctx, l.conn(), query)
			return retryable(err)
		})
		if pgerr.RaisedBy(err, pgerr.SyntaxError, "exec_parse_message") {
			return c.execScript(ctx, query)
		}
	}
	if pgerr.RaisedBy(err, pgerr.ActiveSQLTransaction, "PreventInTransactionBlock") || t.Code && t.Commands == 1 && pgerr.RaisedBy(err, pgerr.InvalidTransactionTermination, "_SPI_commit", "_SPI_rollback") {
		return c.execSession(ctx, query)
	}
	return tag, err
}

// execExtended runs one statement by the extended protocol, which pgx's Exec
// would not use without arguments.
func execExtended(ctx context.Context, c *pgx.Conn, query string) (pgconn.CommandTag, error) {
	rows, err := c.Query(ctx, query, pgx.QueryExecModeExec)
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	rows.Close()
	return rows.CommandTag(), rows.Err()
}

// execScript runs a text in one simple message, which is one implicit
// transaction, with the settings in front.
func (c *conn) execScript(ctx context.Context, query string) (tag pgconn.CommandTag, err error) {
	err = c.hygienic(ctx, func(h hygiene) error {
		lead := c.lease.target.script(Preamble{}, local, h)
		tag, err = c.lease.traced(ctx, query, func(ctx context.Context) (pgconn.CommandTag, error) {
			tag, err := c.lease.simple(ctx, lead+query)
			return tag, positioned(err, lead)
		})
		if err == nil {
			c.lease.fresh = false
		}
		return err
	})
	if c.lease != nil && c.lease.refusesSchema(err) {
		err = c.lease.failed("apply settings", err)
	}
	return tag, err
}

// positioned takes what stood in front of the user's text out of the position
// of an error.
func positioned(err error, lead string) error {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && pgErr.Position > 0 {
		pgErr.Position -= int32(utf8.RuneCountInString(lead)) //nolint:gosec // a position lies in the text
	}
	return err
}

// execSession runs a statement that can't run in a transaction, such as VACUUM
// or CREATE INDEX CONCURRENTLY: the settings are set for the session and reset
// after it.
func (c *conn) execSession(ctx context.Context, query string) (pgconn.CommandTag, error) {
	if c.lease.link.pooled() {
		return pgconn.CommandTag{}, errSessionPooled
	}
	err := c.hygienic(ctx, func(h hygiene) error {
		_, err := c.lease.simple(ctx, c.lease.target.script(Preamble{}, session, h))
		if err == nil {
			c.lease.fresh = false
		}
		return err
	})
	l := c.lease
	if l == nil {
		return pgconn.CommandTag{}, err
	}
	defer l.detached(ctx, l.target.reset())
	if err != nil {
		return pgconn.CommandTag{}, l.failed("apply settings", err)
	}
	tag, err := l.conn().Exec(ctx, query)
	if err != nil {
		err = fmt.Errorf("tenantry: outside a transaction: %w", err)
	}
	return tag, err
}

// retryable turns an error that came before anything was sent into what
// database/sql retries, like pgx's stdlib.
func retryable(err error) error {
	if err != nil && pgconn.SafeToRetry(err) {
		return driver.ErrBadConn
	}
	return err
}
