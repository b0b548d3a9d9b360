package driver

import (
	"context"
	"database/sql/driver"
	"errors"

	"github.com/tenantry/tenantry/internal/sqltext"
)

// statement is what goes to the server for an application: a text with its arguments,
// in one of the forms in which PostgreSQL takes texts, and what came of it.
type statement struct {
	form   form
	query  string
	args   []any // as they were given: each try encodes them, for the place where it goes
	traits sqltext.Traits

	unnamed bool // it goes without a name: the one that the session keeps for it was stale
	discard bool // temporary tables are dropped in front of it

	// Encoded by encode, for the lease of this try.
	named []driver.NamedValue // as stdlib takes them: pgx's query mode and the arguments
	oids  []uint32            // types of the arguments that were encoded for one, 0 for the others; nil if there are none
	typed typeKey             // under which the types are remembered, if oids are not nil

	rows   driver.Rows   // of asQuery
	result driver.Result // of asExec, asText, asScript and asSession
	types  []uint32      // of asDescribe
	column []string      // of asColumn
}

// form is how a text goes to the server.
type form int

const (
	asQuery    form = iota // one command in an extended message group, with its rows
	asExec                 // the same without rows
	asText                 // the same without arguments
	asDescribe             // Parse and Describe only
	asColumn               // one command, whose rows have one column of text
	asScript               // commands in one simple message, with the settings in front
	asSession              // a command that can't run in a transaction: settings of the session, which are reset behind it
	asBegin                // BEGIN by itself, with what comes with it
)

// simple reports whether a form is made of simple messages.
func (f form) simple() bool { return f >= asScript }

// admit lets a statement in: it has a scope, pgx's own options are off its
// arguments, and its text takes nothing from under its settings.
func (c *conn) admit(ctx context.Context, form form, query string, args []driver.NamedValue) (*statement, error) {
	l, err := c.enter(ctx)
	if err != nil {
		return nil, err
	}
	query, values, err := rewrite(ctx, l, query, args)
	if err != nil {
		return nil, err
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
	return &statement{form: form, query: query, args: values, traits: t}, err
}

// QueryContext sends a statement that returns rows.
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	s, err := c.admit(ctx, asQuery, query, args)
	if err != nil {
		return nil, err
	}
	if s.traits.Code && c.tx == nil {
		return nil, errCodeQueried
	}
	err = c.do(ctx, s)
	c.finish(s, err)
	return s.rows, err
}

// ExecContext sends a statement that returns no rows, or a script of several
// statements if it has no arguments.
func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if len(args) == 1 {
		if result, err, ok := c.obey(ctx, args[0].Value); ok {
			return result, err
		}
	}
	s, err := c.admit(ctx, asExec, query, args)
	if err != nil {
		return nil, err
	}
	switch {
	case len(s.args) == 0:
		s.form = c.formOf(s.traits)
	case s.traits.Code && c.tx == nil:
		return c.execCode(ctx, s)
	}
	err = c.do(ctx, s)
	c.finish(s, err)
	return s.result, err
}

// formOf returns the form in which a text without arguments is tried first. The server refuses a
// text that is several commands, or one that can't run in a transaction, before any of it has run:
// it then goes in another form.
//
// CALL and DO start as a script: there the server lets their code end no transaction, and with it
// the settings.
func (c *conn) formOf(t sqltext.Traits) form {
	switch p := c.phase(); {
	case p == txOpen, t.Commands != 1, p == noTx && t.Code, p == txPending && !c.tx.preamble.empty():
		return asScript
	}
	return asText
}

// execCode runs CALL with arguments in a transaction of its own: as a statement
// by itself its code could end the transaction, and the settings with it.
func (c *conn) execCode(ctx context.Context, s *statement) (driver.Result, error) {
	tx, err := c.BeginTx(ctx, driver.TxOptions{})
	if err != nil {
		return nil, err
	}
	err = c.do(ctx, s)
	c.finish(s, err)
	if err != nil {
		return nil, errors.Join(err, tx.Rollback())
	}
	return s.result, tx.Commit()
}

// finish notes what an application's statement leaves behind. Only after the statement is it known
// in which session that is.
func (c *conn) finish(s *statement, err error) {
	c.taint(s.traits)
	if err != nil && s.oids != nil {
		c.connector.types.remove(s.typed)
	}
	c.count(err)
}

func (c *conn) count(err error) {
	c.connector.Counters.Statements.Add(1)
	if err != nil && !errors.Is(err, driver.ErrBadConn) {
		c.connector.Counters.Errors.Add(1)
	}
}
