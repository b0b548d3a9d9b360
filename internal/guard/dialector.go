package guard

import (
	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/pgcatalog"
)

// tenantDialector is GORM's dialector for PostgreSQL with a migrator that looks at the
// tenant's schema alone. It embeds GORM's so that every optional interface is promoted:
// a forgotten one would fail silently.
type tenantDialector struct {
	*postgres.Dialector
	guard *Guard
}

var (
	_ gorm.Dialector                     = tenantDialector{}
	_ gorm.ErrorTranslator               = tenantDialector{}
	_ gorm.SavePointerDialectorInterface = tenantDialector{}
	_ interface {
		Apply(config *gorm.Config) error
	} = tenantDialector{}
)

// Migrator returns the migrator of a session.
func (d tenantDialector) Migrator(db *gorm.DB) gorm.Migrator {
	return pgcatalog.New(*d.Dialector, db)
}
