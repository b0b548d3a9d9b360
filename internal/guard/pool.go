package guard

import (
	"database/sql"
	"errors"
	"reflect"
	"sync"

	"gorm.io/gorm"
)

// preparedStatements returns where GORM keeps the prepared statements that the
// sessions of db share, by text. GORM has no way to empty it: a session made
// before the plugin and one made after it would share statements, and with them
// the old pool.
func preparedStatements(db *gorm.DB) (*sync.Map, error) {
	field := reflect.ValueOf(db.Config).Elem().FieldByName("cacheStore")
	if !field.IsValid() || field.Type() != reflect.TypeFor[*sync.Map]() {
		return nil, errors.New("plugin: this version of GORM keeps prepared statements in a place that the plugin does not know: use a version that the README lists")
	}
	return (*sync.Map)(field.UnsafePointer()), nil
}

// replacePool makes db use pool everywhere, also where GORM prepares statements.
func replacePool(db *gorm.DB, pool *sql.DB, prepared *sync.Map) {
	if all, ok := db.ConnPool.(*gorm.PreparedStmtDB); ok { // Config.PrepareStmt
		all.Close() // they are the old pool's
		all.ConnPool = pool
		return
	}
	db.ConnPool = pool
	db.Statement.ConnPool = pool
	keepPrepared(prepared, nil)
}

// keepPrepared makes own the place of the prepared statements that sessions share. Without
// one, the next session makes its own.
func keepPrepared(prepared *sync.Map, own *gorm.PreparedStmtDB) {
	prepared.Range(func(key, value any) bool {
		if _, ok := value.(*gorm.PreparedStmtDB); !ok {
			return true
		}
		if own == nil {
			prepared.Delete(key)
		} else {
			prepared.Store(key, own)
		}
		return true
	})
}
