package plugin

import (
	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/pgcatalog"
)

// dialector is GORM's dialector for PostgreSQL with a migrator that looks at the
// tenant's schema alone. What GORM asks a dialector for besides is promoted: a
// forgotten interface would fail silently.
type dialector struct{ *postgres.Dialector }

var (
	_ gorm.Dialector                     = dialector{}
	_ gorm.ErrorTranslator               = dialector{}
	_ gorm.SavePointerDialectorInterface = dialector{}
	_ interface {
		Apply(config *gorm.Config) error
	} = dialector{}
)

// Migrator returns the migrator of a session.
func (d dialector) Migrator(db *gorm.DB) gorm.Migrator { return pgcatalog.New(*d.Dialector, db) }

// replaceDialector makes db, and the sessions that are made from it, use the
// plugin's migrator. openedBy has seen that the dialector is GORM's own.
func replaceDialector(db *gorm.DB) {
	if original, err := dialectorOf(db); err == nil {
		db.Dialector = dialector{original}
	}
}
