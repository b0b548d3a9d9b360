package driver

import (
	"errors"
	"strings"

	"github.com/tenantry/tenantry/internal/pgerr"
	"github.com/tenantry/tenantry/internal/sqltext"
	"github.com/tenantry/tenantry/internal/wire"
)

// compose says what travels with a message group: what the session need not keep any
// more, BEGIN if tx is still to be opened, the target's settings, and the name of the statement
// if it has one.
func (l *lease) compose(h hygiene, tx *opening, o outgoing) (wire.Group, error) {
	g := l.group(l.mayName(), o)
	err := l.lead(h, tx)
	g.Prefixes = l.link.names.prefixes()
	return g, err
}

// mayName reports whether anything may have a name: behind a pooler the session is somebody else's
// in the next moment.
func (l *lease) mayName() bool {
	return l.link.names.limit > 0 && !l.tainted && !l.link.pooled()
}

// group begins a message group, with the name of its statement if it has one.
func (l *lease) group(named bool, o outgoing) wire.Group {
	n := l.link.names
	n.begin(named)
	g := wire.Group{OIDs: o.oids}
	if n.hot = n.use(l, o); n.hot != nil {
		g.Name, g.Kept = n.hot.name, n.hot.said
	}
	return g
}

// composeWithin says what travels with a statement in a transaction that has begun: its name, if it
// has one, and a savepoint around the Bind of a statement that the session keeps.
func (l *lease) composeWithin(o outgoing) (g wire.Group, err error) {
	n := l.link.names
	g = l.group(l.mayName() && !l.changed && l.conn().PgConn().TxStatus() == 'T' && !sqltext.HasLiteral(o.query), o)
	if g.Name == "" {
		return g, nil
	}
	if g.Kept != nil { // without a name for the savepoint: it must be there if the session has lost its names
		err = errors.Join(n.lead.Add(n.savepoint), n.shapeFor(n.release).run(&n.between))
	}
	g.Prefixes, g.Between, g.Portal = n.prefixes(), n.between, n.own
	return g, err
}

// lead puts together what goes in front of a statement.
func (l *lease) lead(h hygiene, tx *opening) error {
	n := l.link.names
	if tx != nil {
		if err := n.shapeFor(tx.sql).run(&n.lead); err != nil {
			return err
		}
	}
	if h == cleaned {
		if err := n.shapeFor(discardTemp).run(&n.lead); err != nil {
			return err
		}
	}
	sh := n.shapeOf(l.target, h)
	if sh == nil {
		return nil
	}
	n.args = l.target.arguments(n.args[:0])
	return sh.run(&n.lead, n.args...)
}

// outlived reports whether err may be because of a name that the session keeps, or
// does not keep any more. The name is given up. All that is a name's fault fails in Bind.
func (l *lease) outlived(err error) bool {
	n := l.link.names
	switch {
	case pgerr.Is(err, pgerr.InvalidSQLStatementName) && strings.Contains(err.Error(), n.prefix):
		n.forget()
		return true
	case n.hot == nil || !l.link.filter.Unbound() || l.link.filter.PrefixFailed() || !mayBeOutdated(err):
		return false
	}
	n.end(n.hot)
	return true
}

// mayBeOutdated reports whether a statement kept by name may fail with err because it is
// older than what it works on.
func mayBeOutdated(err error) bool {
	return pgerr.RaisedBy(err, pgerr.FeatureNotSupported, "RevalidateCachedQuery") || // the columns of the result have changed
		pgerr.In(err, pgerr.SyntaxErrorOrAccessRuleViolation) && !pgerr.Is(err, pgerr.InsufficientPrivilege) ||
		pgerr.Is(err, pgerr.InternalError, // a type is gone
			pgerr.InvalidTextRepresentation, pgerr.NumericValueOutOfRange, pgerr.InvalidDatetimeFormat, pgerr.DatetimeFieldOverflow) // the type of a parameter has changed
}
