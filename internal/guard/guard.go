// Package guard makes a *gorm.DB send its statements to the tenant on their context,
// and nothing past that: it puts the tenant-aware pool in, takes GORM's migrator out
// for one that keeps to the tenant's schema, and adds the callbacks that GORM needs to
// be safe with several tenants. It refuses the statements for which something else has
// chosen a pool, or would answer in the place of GORM.
package guard

import (
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

// Guard is what [Install] has put into a *gorm.DB. It is safe for concurrent use.
type Guard struct {
	db       *gorm.DB
	pool     *sql.DB // the only one that statements may reach
	former   *sql.DB // the one that db had, which sessions keep that are older
	prepared *sync.Map
	trusted  []string
	chains   []chain

	lending atomic.Int32 // transactions in lent
	lent    sync.Map     // the *sql.Tx whose connections are lent
}

// Install makes db, and the sessions that are made from it, use pool, whose connector
// must be of package driver. If it returns an error, db is as it was. The pool that db
// had stays open.
//
// A statement whose pool does not lead to pool fails with [ErrForeignPool]. One for which
// a callback of GORM's was replaced fails with [ErrReplacedCallback], and so does Install,
// unless trusted names the callback.
func Install(db *gorm.DB, pool *sql.DB, trusted ...string) error {
	dialector, err := Dialector(db)
	if err != nil {
		return err
	}
	prepared, err := preparedStatements(db)
	if err != nil {
		return err
	}
	if err := checkDatabaseSQL(); err != nil {
		return err
	}
	g := &Guard{db: db, pool: pool, former: ownerOf(db.ConnPool), prepared: prepared, trusted: trusted, chains: chainsOf(db)}
	if err := g.inspect(); err != nil {
		return err
	}
	if err := errors.Join(registerDiscard(db), g.register()); err != nil {
		return err
	}
	replacePool(db, pool, prepared)
	db.Dialector = tenantDialector{dialector, g}
	return nil
}

// Of returns the guard of db, or of the *gorm.DB of which it is a session.
func Of(db *gorm.DB) (*Guard, bool) {
	d, ok := db.Dialector.(tenantDialector)
	return d.guard, ok
}

// inspect returns an error if another plugin has been there that the guard can't work
// with.
func (g *Guard) inspect() error {
	if hasResolver(g.db) {
		return errResolver
	}
	fresh, err := gormsOwn()
	if err != nil {
		return fmt.Errorf("plugin: look at the callbacks of GORM: %w", err)
	}
	for i := range g.chains {
		c := chain{kind: g.chains[i].kind, callbacks: g.chains[i].callbacks, own: fresh[i].own}
		if name := c.replaced(g.trusted); name != "" {
			return replaced(name, c.by(name))
		}
	}
	return nil
}

// register puts the guard's callbacks in. What must not be passed by is not registered
// before one of GORM's callbacks, but around it: a callback that another plugin registers
// later may run between the two.
func (g *Guard) register() error {
	defer quiet(g.db)()
	for i := range g.chains {
		c := &g.chains[i]
		for name, around := range map[string]func(*chain, func(*gorm.DB)) func(*gorm.DB){beginName: g.begin, commitName: g.end, c.send(): g.send} {
			own := c.callbacks.Get(name)
			if own == nil { // with SkipDefaultTransaction there is no transaction
				continue
			}
			guarded := around(c, own)
			if err := c.callbacks.Replace(name, guarded); err != nil {
				return err
			}
			if codeOf(c.callbacks.Get(name)) != codeOf(guarded) {
				return fmt.Errorf("plugin: GORM keeps another callback than the plugin's for %s: register the one before it without Before and After", name)
			}
		}
		c.read()
		if err := c.first.Register(firstName, g.first(c)); err != nil {
			return err
		}
	}
	return nil
}

// quiet silences what GORM logs of callbacks that are replaced, until the function that it
// returns is called.
func quiet(db *gorm.DB) func() {
	before := db.Logger
	db.Logger = logger.Discard
	return func() { db.Logger = before }
}

// Dialector returns GORM's own dialector for PostgreSQL, with which db was opened, or
// an error that says what to open db with.
func Dialector(db *gorm.DB) (*postgres.Dialector, error) {
	switch d := db.Dialector.(type) {
	case *postgres.Dialector:
		return d, nil
	case postgres.Dialector:
		return &d, nil
	case nil:
		return nil, errors.New("plugin: the *gorm.DB has no dialector")
	default:
		return nil, fmt.Errorf("plugin: the dialector is %T (%s), but tenants need PostgreSQL: open with gorm.io/driver/postgres", d, d.Name())
	}
}
