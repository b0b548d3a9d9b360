package guard

import (
	"errors"
	"reflect"

	"gorm.io/gorm"
)

// transaction is the key under which the settings of a statement hold the transaction that
// GORM has begun for it.
type transaction struct{}

// first refuses a statement for which a callback of GORM's was replaced. It can't keep the
// other callbacks from running, and a cache may answer in spite of the error: what they
// fill is not what the caller passed, and what they send goes nowhere.
func (g *Guard) first(c *chain) func(*gorm.DB) {
	return func(db *gorm.DB) {
		name := c.replaced(g.trusted)
		if name == "" {
			return
		}
		err := replaced(name, c.by(name))
		if v := db.Statement.ReflectValue; v.IsValid() {
			dest := reflect.New(v.Type())
			db.Statement.Dest, db.Statement.ReflectValue = dest.Interface(), dest.Elem()
		}
		db.Statement.ConnPool = refused{err}
		c.refuse(db, err)
	}
}

// send refuses a statement that would go to another pool.
func (g *Guard) send(c *chain, own func(*gorm.DB)) func(*gorm.DB) {
	return func(db *gorm.DB) {
		if err := g.check(db); err != nil && !db.DryRun {
			c.refuse(db, err)
			return
		}
		own(db)
	}
}

// begin refuses the transaction of a statement that would go to another pool, and leaves
// out that of a lone one. GORM begins one for a dry run, too, which would reach that pool.
func (g *Guard) begin(c *chain, own func(*gorm.DB)) func(*gorm.DB) {
	return func(db *gorm.DB) {
		if err := g.check(db); err != nil {
			if !db.DryRun {
				c.refuse(db, err)
			}
			return
		}
		if g.lone(c, db) {
			return
		}
		_, nested := db.Statement.ConnPool.(gorm.TxCommitter)
		own(db)
		if _, begun := db.Statement.ConnPool.(gorm.TxCommitter); begun && !nested {
			db.Statement.Settings.Store(transaction{}, db.Statement.ConnPool)
		}
	}
}

// end lets GORM end the transaction that it has begun, and no other: if the statement was
// refused because a callback put another pool in, the transaction would stay open.
func (*Guard) end(_ *chain, own func(*gorm.DB)) func(*gorm.DB) {
	return func(db *gorm.DB) {
		kept, _ := db.Statement.Settings.LoadAndDelete(transaction{})
		if tx, ok := kept.(gorm.ConnPool); ok {
			db.Statement.ConnPool = tx
		}
		// GORM would end one, too, that an earlier write of the same Statement has begun.
		if _, open := db.Statement.ConnPool.(gorm.TxCommitter); open {
			own(db)
		}
	}
}

// Check returns an error if a statement of db would go to another pool than the plugin's.
// It is for statements that are sent without GORM's callbacks.
func Check(db *gorm.DB) error {
	if g, ok := Of(db); ok {
		return g.check(db)
	}
	return foreign(db.Statement.ConnPool)
}

var errLent = errors.New("plugin: the connection of the transaction is lent to a function of plugin.WithConn, which still runs: send the statement on the *pgx.Conn, or behind it")

// Lend refuses further statements of the transaction of db, until the function that it returns
// is called: they would wait for the connection, which database/sql gives to one caller at a time,
// and their context would not end that. It returns an error if the connection is lent already.
func (g *Guard) Lend(db *gorm.DB) (giveBack func(), err error) {
	tx := transactionOf(db.Statement.ConnPool)
	if _, there := g.lent.LoadOrStore(tx, true); there {
		return nil, errLent
	}
	g.lending.Add(1)
	return func() {
		g.lent.Delete(tx)
		g.lending.Add(-1)
	}, nil
}

// isLent reports whether the connection of the transaction to which pool sends is lent.
func (g *Guard) isLent(pool gorm.ConnPool) bool {
	if g.lending.Load() == 0 {
		return false
	}
	_, lent := g.lent.Load(transactionOf(pool))
	return lent
}

// check returns an error if the statement would go to another pool, or its transaction's connection
// is lent. A session that is older than the guard keeps the pool that it has.
func (g *Guard) check(db *gorm.DB) error {
	switch pool := db.Statement.ConnPool.(type) {
	case refused:
		return pool.err
	default:
		owner := ownerOf(pool)
		if owner != nil && (owner == g.pool || owner == g.former && ownerOf(db.ConnPool) == g.former) {
			if g.isLent(pool) {
				return errLent
			}
			return nil
		}
		if hasResolver(db) {
			return errResolver
		}
		return foreign(pool)
	}
}

// refuse makes the statement fail. GORM's Row returns no error, so the row has it.
func (c *chain) refuse(db *gorm.DB, err error) {
	if db.Error == nil { // a second error would hide the first
		_ = db.AddError(err)
	}
	if rows, _ := db.Get("rows"); c.kind == "row" && rows != true {
		db.Statement.Dest = failedRow(db.Error)
	}
}
