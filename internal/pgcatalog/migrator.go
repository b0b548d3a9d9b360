package pgcatalog

import (
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/migrator"
)

// Migrator is the driver's migrator with all that reads the database replaced.
// Like the driver's, it belongs to one session.
type Migrator struct{ postgres.Migrator }

var (
	_ gorm.Migrator                       = Migrator{}
	_ migrator.BuildIndexOptionsInterface = Migrator{} // CreateTable looks for it
)

// New returns a migrator for the session db, as d.Migrator does.
func New(d postgres.Dialector, db *gorm.DB) Migrator {
	return Migrator{postgres.Migrator{Migrator: migrator.Migrator{Config: migrator.Config{
		DB:                          db,
		Dialector:                   d,
		CreateIndexAfterCreateTable: true,
	}}}}
}

// namespace is the condition that a pg_class row is in the schema that
// CurrentSchema returns: a name, or the expression current_schema().
const namespace = "relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = ?)"

// read is a query. It is sent in DryRun mode too, as the driver does: what would
// be changed depends on what there is.
func (m Migrator) read(sql string, values ...any) *gorm.DB {
	tx := m.DB
	if tx.DryRun {
		tx = tx.Session(&gorm.Session{})
		tx.DryRun = false
	}
	return tx.Raw(sql, values...)
}

// has answers a query that asks whether something exists. Errors are with the
// logger and mean no, as in the driver: GORM's interface has no place for them.
func (m Migrator) has(value any, ask func(*gorm.Statement) *gorm.DB) bool {
	var found bool
	err := m.RunWithValue(value, func(stmt *gorm.Statement) error {
		return ask(stmt).Scan(&found).Error
	})
	return err == nil && found
}
