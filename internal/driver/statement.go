package driver

import (
	"context"
	"database/sql/driver"
	"errors"

	"github.com/tenantry/tenantry/internal/sqltext"
)

// stmt is a text on a connection. Nothing is prepared: the tenant is read from
// the context of each execution, and one tenant's plan would not fit another.
type stmt struct {
	conn  *conn
	query string
}

var (
	_ driver.Stmt             = (*stmt)(nil)
	_ driver.StmtExecContext  = (*stmt)(nil)
	_ driver.StmtQueryContext = (*stmt)(nil)
)

var errNoContext = errors.New("tenantry: use the method that takes a context")

// Prepare remembers the text.
func (c *conn) Prepare(query string) (driver.Stmt, error) {
	return &stmt{conn: c, query: query}, nil
}

// PrepareContext remembers the text. It needs no scope and sends nothing.
func (c *conn) PrepareContext(_ context.Context, query string) (driver.Stmt, error) {
	return c.Prepare(query)
}

// Close has nothing to close.
func (s *stmt) Close() error { return nil }

// NumInput says that the number of parameters is not known.
func (s *stmt) NumInput() int { return -1 }

// Exec is the form without a context, and so without a scope.
func (s *stmt) Exec([]driver.Value) (driver.Result, error) { return nil, errNoContext }

// Query is the form without a context, and so without a scope.
func (s *stmt) Query([]driver.Value) (driver.Rows, error) { return nil, errNoContext }

func (s *stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return s.conn.ExecContext(ctx, s.query, args)
}

func (s *stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.conn.QueryContext(ctx, s.query, args)
}

// admit lets a statement in: it has a scope, pgx's own options are off its
// arguments, and its text takes nothing from under its settings.
func (c *conn) admit(ctx context.Context, query string, args []driver.NamedValue) (string, []any, sqltext.Traits, error) {
	l, err := c.enter(ctx)
	if err != nil {
		return "", nil, sqltext.Traits{}, err
	}
	query, values, err := rewrite(ctx, l, query, args)
	if err != nil {
		return "", nil, sqltext.Traits{}, err
	}
	t, err := c.inspect(query)
	if err == nil && t.Copies { // on a connection that Work has lent there is a way
		err = errCopy
	}
	if err == nil {
		err = c.refuseHidden(ctx, sqltext.TempNames(query))
	}
	if c.connector.Comments && t.Commands > 0 {
		query = commented(query, l.scope)
	}
	return query, values, t, err
}

// QueryContext sends a statement that returns rows.
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (rows driver.Rows, err error) {
	query, values, t, err := c.admit(ctx, query, args)
	if err != nil {
		return nil, err
	}
	if t.Code && !c.inTx {
		return nil, errCodeQueried
	}
	defer c.taint(t)
	err = c.runWith(ctx, query, values, t, func(l *lease, args []driver.NamedValue) error {
		rows, err = l.from.std.QueryContext(ctx, query, args)
		return err
	})
	return rows, err
}

// ExecContext sends a statement that returns no rows, or a script of several
// statements if it has no arguments.
func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if len(args) == 1 {
		switch order := args[0].Value.(type) {
		case Work:
			return c.work(ctx, order)
		case SettingsAgain:
			return c.settingsAgain(ctx, order)
		case CheckTransaction:
			return driver.ResultNoRows, c.checkTransaction(ctx)
		case RefuseControl:
			if c.inTx {
				return nil, errors.New("tenantry: a transaction on the pinned connection was left open: commit it, or roll it back")
			}
			c.noControl = true
			return driver.ResultNoRows, nil
		}
	}
	query, values, t, err := c.admit(ctx, query, args)
	if err != nil {
		return nil, err
	}
	defer c.taint(t)
	if len(values) == 0 {
		return c.execText(ctx, query, t)
	}
	if t.Code && !c.inTx {
		return c.execCode(ctx, query, values, t)
	}
	return c.exec(ctx, query, values, t)
}

func (c *conn) exec(ctx context.Context, query string, values []any, t sqltext.Traits) (result driver.Result, err error) {
	err = c.runWith(ctx, query, values, t, func(l *lease, args []driver.NamedValue) error {
		result, err = l.from.std.ExecContext(ctx, query, args)
		return err
	})
	return result, err
}

// execCode runs CALL with arguments in a transaction of its own: as a statement
// by itself its code could end the transaction, and the settings with it.
func (c *conn) execCode(ctx context.Context, query string, values []any, t sqltext.Traits) (driver.Result, error) {
	tx, err := c.BeginTx(ctx, driver.TxOptions{})
	if err != nil {
		return nil, err
	}
	result, err := c.exec(ctx, query, values, t)
	if err != nil {
		return nil, errors.Join(err, tx.Rollback())
	}
	return result, tx.Commit()
}

// runWith encodes the arguments and runs the statement with them.
func (c *conn) runWith(ctx context.Context, query string, values []any, t sqltext.Traits, send func(*lease, []driver.NamedValue) error) error {
	p, err := c.parameters(ctx, query, values)
	if err != nil {
		return err
	}
	err = c.run(ctx, outgoing{query: query, oids: p.oids, repeats: t.Repeats, args: p.named[1:]}, func(l *lease) error { return send(l, p.named) })
	if err != nil {
		c.forget(p)
	}
	return err
}
