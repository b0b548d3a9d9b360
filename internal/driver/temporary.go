package driver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// temporaries returns the names of the temporary tables, views and sequences that a
// text makes, as the text writes them. CREATE and INTO are reserved words, so that
// nothing else stands behind them outside of quotes.
func temporaries(query string) (names []string) {
	if !saysTemp(query) && !strings.Contains(query, "&") { // U&"pg\005ftemp"
		return nil
	}
	words := slices.Collect(tokens(query))
	for i := range words {
		var at int
		var temporary bool
		switch {
		case strings.EqualFold(words[i], "create"):
			at, temporary = afterCreate(words, i+1)
		case strings.EqualFold(words[i], "into") && !named(words, i-1, "insert", "merge"):
			at, temporary = afterTemp(words, i+1)
			at = pass(words, at, "table")
		default:
			continue
		}
		qualifiers, name := nameAt(words, at)
		if name != "" && (temporary || slices.ContainsFunc(qualifiers, isTempSchema)) {
			names = append(names, name)
		}
	}
	return names
}

// saysTemp reports whether a text has the letters of TEMP. Every statement is asked, and most have few
// letters P.
func saysTemp(query string) bool {
	for _, p := range []byte{'p', 'P'} {
		for from := 0; ; {
			n := strings.IndexByte(query[from:], p)
			if n < 0 {
				break
			}
			if around(query, from+n, "tem", "") {
				return true
			}
			from += n + 1
		}
	}
	return false
}

// afterCreate returns where the name stands that a CREATE makes a relation under, and
// whether it says TEMP.
func afterCreate(words []string, at int) (int, bool) {
	if named(words, at, "or") && named(words, at+1, "replace") {
		at += 2
	}
	at, temporary := afterTemp(words, at)
	for named(words, at, "unlogged", "foreign", "materialized", "recursive") {
		at++
	}
	if !named(words, at, "table", "view", "sequence") {
		return len(words), false
	}
	at++
	if named(words, at, "if") && named(words, at+1, "not") && named(words, at+2, "exists") {
		at += 3
	}
	return at, temporary
}

// afterTemp passes over [LOCAL | GLOBAL] TEMP | TEMPORARY, if it is there.
func afterTemp(words []string, at int) (int, bool) {
	next := pass(words, at, "local", "global")
	if named(words, next, "temp", "temporary") {
		return next + 1, true
	}
	return at, false
}

// pass returns the place behind one of the words, if it stands at a place.
func pass(words []string, at int, options ...string) int {
	if named(words, at, options...) {
		at++
	}
	return at
}

// named reports whether one of the options stands at a place.
func named(words []string, at int, options ...string) bool {
	return at >= 0 && at < len(words) && slices.ContainsFunc(options, func(o string) bool { return strings.EqualFold(words[at], o) })
}

// nameAt returns the parts of the name at a place. The name is "" if none is there.
func nameAt(words []string, at int) (qualifiers []string, name string) {
	for at < len(words) {
		if name = words[at]; name[0] != '"' && !wordByte(name[0]) {
			return nil, ""
		}
		at++
		if strings.EqualFold(name, "u") && named(words, at, "&") && at+1 < len(words) {
			name, at = "U&"+words[at+1], at+2
		}
		for at < len(words) && words[at][0] == '"' { // a doubled quote is two tokens
			name += words[at]
			at++
		}
		if !named(words, at, ".") {
			return qualifiers, name
		}
		qualifiers = append(qualifiers, name)
		at++
	}
	return nil, ""
}

// isTempSchema reports whether a name is pg_temp, or the name that PostgreSQL gives it
// in one session. What is written in Unicode escapes may be.
func isTempSchema(name string) bool {
	if strings.HasPrefix(name, `"`) {
		return strings.HasPrefix(strings.Trim(name, `"`), "pg_temp")
	}
	return strings.HasPrefix(strings.ToLower(name), "pg_temp") || isEscaped(name)
}

func isEscaped(name string) bool { return strings.HasPrefix(name, `U&"`) }

var errEscapedTemp = errors.New("tenantry: a temporary table's name is written with Unicode escapes, and can't be compared with the tenant's tables: write it without")

// refuseHidden refuses a text that makes temporary tables under names that lead to other
// tables: pg_temp stands last in the path, so what follows would read, change and empty those.
// The text has not been sent.
func (c *conn) refuseHidden(ctx context.Context, names []string) error {
	if len(names) == 0 || !c.lease.target.searchesTempLast() {
		return nil
	}
	if slices.ContainsFunc(names, isEscaped) {
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
		values[i] = "(pg_catalog.to_regclass(" + Literal(n) + "))"
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
