package guard

import (
	"fmt"

	"gorm.io/gorm"
)

// resolverName is the callback of gorm.io/plugin/dbresolver that chooses a pool. Its clauses
// look it up by this name and call it at once.
const resolverName = "gorm:db_resolver"

var errResolver = fmt.Errorf("plugin: gorm.io/plugin/dbresolver is registered on this *gorm.DB and would send statements past the plugin: %w: take dbresolver out, and for a read replica open a second *gorm.DB on it, with a plugin of its own (docs/strategies.md)", ErrForeignPool)

// hasResolver reports whether dbresolver is registered on db.
func hasResolver(db *gorm.DB) bool { return db.Callback().Query().Get(resolverName) != nil }

// RefuseResolver returns an error if dbresolver has been registered since Install. The
// caller may ignore it, so dbresolver's callbacks give way to one that refuses each
// statement, and each transaction that begins with one of dbresolver's clauses: GORM runs
// no callback of ours before BEGIN.
//
// dbresolver opens its replicas with a copy of the configuration: the plugins are
// initialised again for each, and the place of prepared statements, which sessions share,
// has become the replica's.
func (g *Guard) RefuseResolver() error {
	if !hasResolver(g.db) {
		return nil
	}
	defer quiet(g.db)()
	for _, c := range chainsOf(g.db) {
		// GORM keeps what comes first behind what does not, and takes the last.
		if err := c.first.Replace(resolverName, refuseResolver); err != nil {
			return err
		}
	}
	own, _ := g.db.ConnPool.(*gorm.PreparedStmtDB)
	keepPrepared(g.prepared, own)
	return errResolver
}

func refuseResolver(db *gorm.DB) { db.Statement.ConnPool = refused{errResolver} }
