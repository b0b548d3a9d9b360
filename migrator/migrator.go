package migrator

import (
	"errors"
	"fmt"

	"github.com/go-gormigrate/gormigrate/v2"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/driver"
)

// Migrator brings a fleet to the version of one list of migrations. It is safe for
// concurrent use; calls that change tenants share their work or wait for each
// other, as those of several processes do. It holds no connection between calls.
type Migrator struct {
	executor
	connector  *driver.Connector // of db
	tenants    Tenants
	migrations Migrations
	err        error // of New, reported by each call
}

// New returns a migrator for the tenants of db, on which the plugin must be
// registered. It runs migrations in the order in which they are given. Errors
// in the arguments, such as two migrations of one id, are reported by each call
// before it touches anything.
//
// The migrations are gormigrate's, and so is the tracking table "migrations" in
// each tenant's schema. A migration must use the *gorm.DB that it is given: it
// carries the tenant and the transaction. Migrations of different tenants run
// at the same time, so what they share must be safe for that. GORM itself is not
// quite: AutoMigrate of a model with a uniqueIndex tag writes to the cached schema
// of the model (always the same value), which the race detector reports;
// WithConcurrency(1) avoids it in tests under -race. One that can't run in a
// transaction is marked by [NoTransaction].
//
// The ledger, what is known of the fleet as a whole, is in the schema "tenantry" of
// the database that db is open on, the master; the first call makes it, as the user
// of db or of [WithDirect].
func New(db *gorm.DB, tenants Tenants, migrations []*gormigrate.Migration, opts ...Option) *Migrator {
	m := &Migrator{executor: executor{db: db}, tenants: tenants, migrations: migrations}
	var errs [4]error
	m.config, errs[0] = newConfig(opts)
	m.connector, errs[1] = connectorOf(db)
	errs[2] = checkMigrations(migrations)
	if tenants == nil {
		errs[3] = errors.New("migrator: the tenants are nil: pass a migrator.List or a catalog")
	}
	m.err = errors.Join(errs[:]...)
	return m
}

// connectorOf refuses a database without the plugin: there, every tenant's
// migrations would run in the same default schema.
func connectorOf(db *gorm.DB) (*driver.Connector, error) {
	if db == nil {
		return nil, errors.New("migrator: the *gorm.DB is nil")
	}
	if _, inTx := db.Statement.ConnPool.(gorm.TxCommitter); inTx {
		return nil, errors.New("migrator: the *gorm.DB is a transaction, but each tenant needs one of its own: pass the database itself")
	}
	if db.DryRun {
		return nil, errors.New("migrator: the *gorm.DB is in DryRun mode, and would report migrations that never ran")
	}
	pool, err := db.DB()
	if err != nil {
		return nil, fmt.Errorf("migrator: %w", err)
	}
	connector, ok := driver.Of(pool)
	if !ok {
		return nil, errors.New("migrator: the tenantry plugin is not registered on this *gorm.DB: call db.Use(plugin.New(…)) first")
	}
	return connector, nil
}

func checkMigrations(migrations Migrations) error {
	if len(migrations) == 0 {
		return errors.New("migrator: there are no migrations")
	}
	position := make(map[string]int, len(migrations))
	var errs []error
	for i, m := range migrations {
		switch {
		case m == nil:
			errs = append(errs, fmt.Errorf("migrator: migration %d is nil", i))
			continue
		case m.ID == "":
			errs = append(errs, fmt.Errorf("migrator: migration %d: %w", i, gormigrate.ErrMissingID))
		case m.ID == "SCHEMA_INIT":
			errs = append(errs, fmt.Errorf("migrator: migration %d: %w", i, &gormigrate.ReservedIDError{ID: m.ID}))
		case storable(m.ID) != m.ID:
			errs = append(errs, fmt.Errorf("migrator: migration %d: the id %q has a NUL byte or is not UTF-8", i, m.ID))
		case len(m.ID) > maxID:
			errs = append(errs, fmt.Errorf("migrator: migration %d: the id %q is longer than %d bytes", i, m.ID, maxID))
		case m.Migrate == nil:
			errs = append(errs, fmt.Errorf("migrator: migration %q has no Migrate function", m.ID))
		}
		if first, ok := position[m.ID]; ok && m.ID != "" {
			errs = append(errs, fmt.Errorf("migrator: migrations %d and %d: %w", first, i, &gormigrate.DuplicatedIDError{ID: m.ID}))
		}
		position[m.ID] = i
	}
	return errors.Join(errs...)
}

// perServerLimit is how many tenants of one server are migrated at a time.
func (c *config) perServerLimit() int {
	if c.perServer == 0 {
		return c.concurrency
	}
	return min(c.perServer, c.concurrency)
}
