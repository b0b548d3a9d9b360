package driver

import (
	"context"
	"database/sql/driver"
	"errors"
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
