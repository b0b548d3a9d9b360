package driver

import (
	"errors"

	"github.com/tenantry/tenantry/internal/sqltext"
	"github.com/tenantry/tenantry/internal/wire"
)

// compose says what travels with the message group of s: what the session need not keep any more,
// BEGIN if it is still to be sent, the target's settings, and the name of the statement if it has
// one. In a transaction that has begun the settings hold already. A statement that the session
// keeps is bound in a savepoint there: where it can't be, as it is older than what it works on,
// nothing is lost. It is executed behind the savepoint: what writes in one takes a transaction ID of
// its own.
func (c *conn) compose(s *statement) (g wire.Group, err error) {
	l, n := c.lease, c.lease.link.names
	named := l.mayName()
	if c.phase() == txOpen {
		named = named && !l.changed && l.conn().PgConn().TxStatus() == 'T' && !sqltext.HasLiteral(s.query)
	}
	n.begin(named)
	g = wire.Group{OIDs: s.oids}
	if n.hot = n.use(l, s); n.hot != nil {
		g.Name, g.Kept = n.hot.name, n.hot.said
	}
	switch {
	case c.phase() != txOpen:
		err = c.lead(s)
	case g.Kept != nil: // without a name for the savepoint: it must be there if the session has lost its names
		err = errors.Join(n.lead.Add(n.savepoint), n.shapeFor(n.release).run(&n.between))
	}
	g.Prefixes, g.Between, g.Portal = n.prefixes(), n.between, n.own
	return g, err
}

// mayName reports whether anything may have a name: behind a pooler the session is somebody else's
// in the next moment.
func (l *lease) mayName() bool {
	return l.link.names.limit > 0 && !l.tainted && !l.link.pooled()
}

// lead puts together what goes in front of a statement.
func (c *conn) lead(s *statement) error {
	l, n := c.lease, c.lease.link.names
	if c.phase() == txPending {
		if err := n.shapeFor(c.tx.begin).run(&n.lead); err != nil {
			return err
		}
	}
	h := l.temp(s)
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
