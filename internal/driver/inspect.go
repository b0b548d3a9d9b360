package driver

import (
	"errors"
	"strings"

	"github.com/tenantry/tenantry/internal/sqltext"
)

var (
	errControlInTx     = errors.New("tenantry: the text begins or ends a transaction inside of one, and the tenant's settings would end with it: use Commit, Rollback or SavePoint")
	errControlOutside  = errors.New("tenantry: the text begins or ends a transaction, but what is done here is recorded by a statement of its own: use db.Transaction")
	errControlInScript = errors.New("tenantry: the script begins or ends transactions, and the tenant's settings would end with the first: leave out BEGIN and COMMIT, and run it in a transaction of db.Transaction")
	errBackslash       = errors.New("tenantry: the text has a backslash, and standard_conforming_strings is off: where its strings end, and so what its statements are, can't be told. Leave the setting on, and write E'…' for strings with escapes")
	errTaintPooled     = errors.New("tenantry: the text leaves state in the session (SET, RESET, PREPARE, LISTEN, …), and behind a transaction pooler the next tenant would find it: use SET LOCAL in a transaction, or connect directly")
	errCopy            = errors.New("tenantry: the data of COPY FROM STDIN or TO STDOUT have no way through database/sql: use plugin.WithConn, with pgx's CopyFrom or PgConn().CopyTo")
	errCodeQueried     = errors.New("tenantry: the code that CALL runs could end the transaction, and go on without a tenant: run it in a transaction of db.Transaction, or by Exec")
)

// inspect refuses texts that would take a statement from under its settings.
func (c *conn) inspect(query string) (sqltext.Traits, error) {
	t := sqltext.Scan(query)
	switch {
	case strings.IndexByte(query, '\\') >= 0 && c.lease.conn().PgConn().ParameterStatus("standard_conforming_strings") == "off":
		return t, errBackslash
	case t.Control && c.tx != nil:
		return t, errControlInTx
	case t.Control && c.noControl:
		return t, errControlOutside
	case t.Control && t.Commands > 1:
		return t, errControlInScript
	case t.SessionState && c.lease.link.pooled():
		return t, errTaintPooled
	}
	return t, nil
}

// taint marks the session that a statement has left state in, if only for its
// transaction. Only after the statement is it sure which session that is.
func (c *conn) taint(t sqltext.Traits) {
	if c.lease == nil {
		return
	}
	c.lease.tainted = c.lease.tainted || t.SessionState || t.HasDo
	c.lease.changed = c.lease.changed || t.Sets
}
