package migrator

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/guard"
)

// executor applies migrations to one place. Everything that makes tables for a tenant
// goes through it: a run of the fleet, and [Migrations.Apply] for the places that a
// catalog or tenanttest makes.
type executor struct {
	config
	db *gorm.DB
}

// NewPlace is a schema or database that was just made for a tenant, from which nobody
// is served yet.
type NewPlace struct {
	// DB is GORM with the plugin on it.
	DB *gorm.DB

	// Begin is called first in every transaction and on every connection that works
	// outside of one, mostly to lock the place: nil if nobody else can work on it. Its
	// error ends the work.
	Begin func(tx *gorm.DB) error

	// Finish is called last in the last transaction, behind the migrations: nil for
	// nothing.
	Finish func(tx *gorm.DB) error

	// CreateSchema is SQL that makes the schema unless it exists, in front of every
	// transaction; it ends with a semicolon. "" where the schema is there already.
	CreateSchema string
}

// Apply brings a new place up to date. ctx names the tenant whose place it is. The rules
// are those of a [Migrator]: each migration begins with the tenant's search_path, whatever
// the one before it did to that, and only Apply ends its transactions.
//
// Apply commits at the end, and before and after each migration marked by [NoTransaction].
// From the statements of such a migration about indexes it leaves out CONCURRENTLY: nobody
// writes to a new place, and CONCURRENTLY would wait for the longest transaction in the
// database. A migration that can't have a lock is tried again, up to five times.
//
// An error names the migration. What was committed before it stays: drop the place, or
// call Apply again. Apply may be called concurrently for different places.
func (m Migrations) Apply(ctx context.Context, place NewPlace) error {
	if err := checkMigrations(m); err != nil {
		return err
	}
	if _, err := connectorOf(place.DB); err != nil {
		return err
	}
	cfg, err := newConfig(nil)
	if err != nil {
		return err
	}
	e := executor{config: cfg, db: place.DB}
	_, err = e.retryLocks(attempt{
		ctx:      ctx,
		newPlace: &place,
		steps: func(applied []string) (steps []step, err error) {
			if unknown := m.unknown(applied); len(unknown) > 0 {
				return nil, &UnknownError{IDs: unknown}
			}
			for _, migration := range m.without(applied) {
				steps = append(steps, step{migration: migration})
			}
			return steps, nil
		},
	}, func(int, error) {}, func(step) {})
	return err
}

// errMigrationTx is what Commit and Rollback return to a migration.
var errMigrationTx = errors.New("migrator: the transaction is the migrator's, which commits it together with the record of the migration: return nil to commit, or an error to roll back")

// migrationTx is a transaction as a migration gets it: one that it can't end. A nested
// tx.Transaction is a savepoint, as in any other.
type migrationTx struct {
	gorm.Tx
	guard.Seal
	db *gorm.DB // whose transaction it is
}

// Commit refuses.
func (*migrationTx) Commit() error { return errMigrationTx }

// Rollback refuses.
func (*migrationTx) Rollback() error { return errMigrationTx }

// GetDBConn returns the pool that the transaction is from, for tx.DB().
func (t *migrationTx) GetDBConn() (*sql.DB, error) { return t.db.DB() }

// forMigration returns a session of the transaction tx that can't end it.
func forMigration(tx *gorm.DB) (*gorm.DB, error) {
	session := tx.Session(&gorm.Session{NewDB: true, Context: tx.Statement.Context}) // a context makes the statement a copy
	switch pool := tx.Statement.ConnPool.(type) {
	case *gorm.PreparedStmtTX: // GORM looks for this type
		session.Statement.ConnPool = &gorm.PreparedStmtTX{Tx: &migrationTx{pool.Tx, guard.Sealed(pool.Tx), tx}, PreparedStmtDB: pool.PreparedStmtDB}
	case gorm.Tx:
		session.Statement.ConnPool = &migrationTx{pool, guard.Sealed(pool), tx}
	default:
		return nil, fmt.Errorf("migrator: %T is no transaction", pool)
	}
	return session, nil
}
