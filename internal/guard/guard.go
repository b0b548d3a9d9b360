// Package guard makes a *gorm.DB send its statements to the tenant on their context,
// and nothing past that: it puts the tenant-aware pool in, takes GORM's migrator out
// for one that keeps to the tenant's schema, and adds the callbacks that GORM needs to
// be safe with several tenants.
package guard

import (
	"database/sql"
	"errors"
	"fmt"

	"gorm.io/driver/postgres"
	"gorm.io/gorm"
)

// Install makes db, and the sessions that are made from it, use pool, whose connector
// must be of package driver. If it returns an error, db is as it was. The pool that db
// had stays open.
func Install(db *gorm.DB, pool *sql.DB) error {
	dialector, err := Dialector(db)
	if err != nil {
		return err
	}
	prepared, err := preparedStatements(db)
	if err != nil {
		return err
	}
	if err := registerDiscard(db); err != nil {
		return err
	}
	replacePool(db, pool, prepared)
	db.Dialector = tenantDialector{dialector}
	return nil
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
