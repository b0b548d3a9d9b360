package driver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tenantry/tenantry/internal/sqltext"
)

var errEscapedTemp = errors.New("tenantry: a temporary table's name is written with Unicode escapes, and can't be compared with the tenant's tables: write it without")

// refuseHidden refuses a text that makes temporary tables under names that lead to other
// tables: pg_temp stands last in the path, so what follows would read, change and empty those.
// The text has not been sent.
func (c *conn) refuseHidden(ctx context.Context, names []string) error {
	if len(names) == 0 || !c.lease.target.searchesTempLast() {
		return nil
	}
	if slices.ContainsFunc(names, sqltext.IsEscaped) {
		return errEscapedTemp
	}
	s := &statement{form: asColumn, query: hiddenBy(names)}
	if err := c.do(ctx, s); err != nil {
		c.count(err)
		return err
	}
	if len(s.column) > 0 {
		return errHidden(s.column)
	}
	return nil
}

// undoHidden does the same for what has run already, on a connection that was lent in a
// transaction: PostgreSQL then refuses to commit it.
func (c *conn) undoHidden(ctx context.Context, names []string) error {
	l := c.lease
	if l.conn().IsClosed() || l.conn().PgConn().TxStatus() != 'T' {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	err := c.refuseHidden(ctx, names)
	if err != nil && l.conn().PgConn().TxStatus() == 'T' {
		_, _ = l.simple(ctx, RefuseUnless("false", "tenantry: a temporary table is hidden"))
		if l.conn().PgConn().TxStatus() == 'T' {
			l.destroy()
		}
	}
	return err
}

func errHidden(found []string) error {
	return fmt.Errorf("tenantry: a temporary table would have the name of %s, which hides it: statements that name it would read and change that table; give the temporary table a name that no table has", strings.Join(found, ", "))
}

// hiddenBy returns a query for the relations that hide temporary ones of these names.
func hiddenBy(names []string) string {
	values := make([]string, len(names))
	for i, n := range names {
		values[i] = "(pg_catalog.to_regclass(" + sqltext.Literal(n) + "))"
	}
	return "select distinct pg_catalog.format('%I.%I', n.nspname, t.relname) from (values " + strings.Join(values, ",") + `) as named (id)
		join pg_catalog.pg_class t on t.oid operator(pg_catalog.=) named.id join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) t.relnamespace
		where t.relpersistence operator(pg_catalog.<>) 't' order by 1`
}

// searchesTempLast reports whether tables of the path hide temporary ones. Where pg_temp is
// not listed, PostgreSQL searches it first.
func (t *Target) searchesTempLast() bool {
	i := t.pathAt()
	return i >= 0 && strings.HasSuffix(t.Settings[i].Value, ", pg_temp")
}
