package driver

import "errors"

var (
	errControlInTx     = errors.New("tenantry: the text begins or ends a transaction inside of one, and the tenant's settings would end with it: use Commit, Rollback or SavePoint")
	errControlInScript = errors.New("tenantry: the script begins or ends transactions, and the tenant's settings would end with the first: leave out BEGIN and COMMIT, and run it in a transaction of db.Transaction")
	errTaintPooled     = errors.New("tenantry: the text leaves state in the session (SET, RESET, PREPARE, LISTEN, …), and behind a transaction pooler the next tenant would find it: use SET LOCAL in a transaction, or connect directly")
)

// inspect refuses texts that would take a statement from under its settings,
// and reports whether the text leaves state in the session.
func (c *conn) inspect(query string) (taints bool, err error) {
	t := traitsOf(query)
	switch {
	case t.control && c.inTx:
		return false, errControlInTx
	case t.control && t.commands > 1:
		return false, errControlInScript
	case t.taints && c.lease.link.pooled():
		return false, errTaintPooled
	}
	return t.taints, nil
}

// taint marks the session that a statement has left state in. Only after the
// statement is it sure which session that is.
func (c *conn) taint(yes bool) {
	if yes && c.lease != nil {
		c.lease.tainted = true
	}
}
