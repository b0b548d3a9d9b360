package driver

import (
	"errors"
	"slices"
	"strings"

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

// Codes that a statement kept by name may fail with because it is older than what it
// works on (Appendix A of the PostgreSQL manual). Besides, all of class 42.
const (
	codeCachedPlan   = "0A000" // the columns of the result have changed
	codeNoRight      = "42501" // has nothing to do with it
	codeNoStatement  = "26000"
	codeInternal     = "XX000" // a type is gone
	codeOutOfRange   = "22003" // a parameter's type has changed, as with the next ones
	codeInvalidDate  = "22007"
	codeDateOverflow = "22008"
)

// outlived reports whether err may be because of a name that the session keeps, or
// does not keep any more. The name is given up. All that is a name's fault fails in Bind.
func (l *lease) outlived(err error) bool {
	code, n := codeOf(err), l.link.names
	switch {
	case code == codeNoStatement && strings.Contains(err.Error(), n.prefix):
		n.forget()
		return true
	case n.hot == nil || !l.link.filter.Unbound() || l.link.filter.PrefixFailed() || !mayBeOutdated(err):
		return false
	}
	n.end(n.hot)
	return true
}

func mayBeOutdated(err error) bool {
	code := codeOf(err)
	if code == codeCachedPlan {
		return refusedBy(err, code, "RevalidateCachedQuery")
	}
	return strings.HasPrefix(code, "42") && code != codeNoRight ||
		slices.Contains([]string{codeInternal, codeInvalidText, codeOutOfRange, codeInvalidDate, codeDateOverflow}, code)
}
