package driver

import (
	"context"
	"database/sql/driver"
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/internal/sqltext"
)

// Work is a function that gets the real connection. Passed as the only argument
// of an Exec in a transaction, it is called instead of sending the text: the
// one way down through a *sql.Tx.
type Work func(*pgx.Conn) error

// work lends the real connection to f for the time of the call. What f sends is
// held against the same rules as any other statement.
func (c *conn) work(ctx context.Context, f Work) (driver.Result, error) {
	if _, err := c.enter(ctx); err != nil {
		return nil, err
	}
	if c.tx == nil {
		return nil, errors.New("tenantry: the *pgx.Conn is lent in a transaction only: outside, its statements would have no tenant")
	}
	if err := c.beginNow(ctx); err != nil {
		return nil, err
	}
	l := c.lease
	var refused error
	var temporary []string
	l.link.filter.Watch(func(name, sql string) error {
		t, err := c.inspect(sql)
		if name != "" { // a prepared statement stays in the session
			t.SessionState = true
		}
		if err == nil && t.SessionState && l.link.pooled() {
			err = errTaintPooled
		}
		c.taint(t)
		temporary = append(temporary, sqltext.TempNames(sql)...)
		refused = errors.Join(refused, err)
		return err
	})
	defer l.link.filter.Watch(nil)
	err := f(l.conn())
	refused = errors.Join(refused, l.inspectBatch(l.link.filter.Unseen()))
	l.link.filter.Watch(nil)
	if err := errors.Join(refused, c.undoHidden(ctx, temporary), err); err != nil {
		return nil, err
	}
	if l.conn().IsClosed() || l.idle() {
		return nil, errors.New("tenantry: the function has ended the transaction of the connection that it was lent")
	}
	return driver.ResultNoRows, nil
}

var errControlInBatch = errors.New("tenantry: a batch has begun or ended a transaction on the connection that it was lent, and the tenant's settings have ended with it: the connection was closed, so that nothing is committed that it has not committed itself")

// inspectBatch looks at the tags of commands whose text was not seen: pgx writes a batch past its own
// frontend. They have run already. What was not committed is lost with the connection.
func (l *lease) inspectBatch(tags []string) error {
	leaves := false
	for _, tag := range tags {
		switch word, what, _ := strings.Cut(tag, " "); {
		case word == "BEGIN", word == "START", word == "COMMIT", word == "PREPARE" && what != "":
			l.destroy()
			return errControlInBatch
		case slices.Contains([]string{"SET", "RESET", "DISCARD", "LISTEN", "UNLISTEN", "PREPARE", "DEALLOCATE", "LOAD"}, word):
			leaves = true // SET LOCAL has the same tag
		}
	}
	l.tainted = l.tainted || leaves
	if leaves && l.link.pooled() {
		l.destroy()
		return errTaintPooled
	}
	return nil
}
