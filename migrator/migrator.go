package migrator

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-gormigrate/gormigrate/v2"
	"golang.org/x/sync/errgroup"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/driver"
)

// defaultConcurrency is how many tenants are migrated at a time. DDL is bound by
// the server's log and catalog more than by its processors.
const defaultConcurrency = 4

// Option changes what [New] builds.
type Option func(*Migrator) error

// WithConcurrency sets how many tenants are migrated at a time. The default is
// 4. More than the base pool has connections only wait for one.
func WithConcurrency(n int) Option {
	return func(m *Migrator) error {
		if n < 1 {
			return fmt.Errorf("migrator: WithConcurrency: %d tenants at a time, at least 1 is needed", n)
		}
		m.concurrency = n
		return nil
	}
}

// Migrator runs one list of migrations for all tenants. It is safe for
// concurrent use; each Run is a run of its own.
type Migrator struct {
	db          *gorm.DB
	tenants     Tenants
	migrations  Migrations
	concurrency int
	err         error // of New, reported by Run
}

// New returns a migrator for the tenants of db, on which the plugin must be
// registered. It runs migrations in the order in which they are given. Errors
// in the arguments, such as two migrations of one id, are reported by Run
// before it touches anything.
//
// The migrations are gormigrate's, and so is the tracking table "migrations" in
// each tenant's schema. Rollback functions are not called yet, and what can't run
// in a transaction (CREATE INDEX CONCURRENTLY) can't be a migration yet: run it by
// db.WithContext(ctx).Exec. A migration must use the *gorm.DB that it is given: it
// carries the tenant and the transaction. Migrations of different tenants run
// at the same time, so what they share must be safe for that. GORM itself is
// not quite: AutoMigrate of a model with a uniqueIndex tag writes to the cached
// schema of the model (always the same value), which the race detector reports;
// WithConcurrency(1) avoids it in tests under -race.
func New(db *gorm.DB, tenants Tenants, migrations []*gormigrate.Migration, opts ...Option) *Migrator {
	m := &Migrator{db: db, tenants: tenants, migrations: migrations, concurrency: defaultConcurrency}
	m.err = errors.Join(checkDB(db), checkMigrations(migrations))
	if tenants == nil {
		m.err = errors.Join(m.err, errors.New("migrator: the tenants are nil: pass a migrator.List or a catalog"))
	}
	for _, o := range opts {
		if o == nil {
			m.err = errors.Join(m.err, errors.New("migrator: an option is nil: leave it out"))
			continue
		}
		m.err = errors.Join(m.err, o(m))
	}
	return m
}

// checkDB refuses a database without the plugin: there, every tenant's
// migrations would run in the same default schema.
func checkDB(db *gorm.DB) error {
	if db == nil {
		return errors.New("migrator: the *gorm.DB is nil")
	}
	if _, inTx := db.Statement.ConnPool.(gorm.TxCommitter); inTx {
		return errors.New("migrator: the *gorm.DB is a transaction, but each tenant needs one of its own: pass the database itself")
	}
	if db.DryRun {
		return errors.New("migrator: the *gorm.DB is in DryRun mode, and would report migrations that never ran")
	}
	pool, err := db.DB()
	if err != nil {
		return fmt.Errorf("migrator: %w", err)
	}
	if !driver.Serves(pool) {
		return errors.New("migrator: the tenantry plugin is not registered on this *gorm.DB: call db.Use(plugin.New(…)) first")
	}
	return nil
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

// Run migrates all tenants, a few at a time, and returns when no work of it is
// left. A tenant that fails is rolled back and does not stop the others.
//
// The report has a result for each tenant, in the order of the list. The error
// joins those of all tenants, each a *scope.TenantError, so that errors.Is and
// errors.As find every cause; it is nil if all tenants are up to date. When ctx
// ends, the tenants at work are rolled back, the others are not begun, and
// their results say so.
func (m *Migrator) Run(ctx context.Context) (Report, error) {
	if m.err != nil {
		return Report{}, m.err
	}
	var results []*Result
	var listErr error
	var group errgroup.Group
	group.SetLimit(m.concurrency)
	for t, err := range m.tenants.Tenants(ctx) {
		if err != nil {
			listErr = fmt.Errorf("migrator: list the tenants: %w", err)
			break
		}
		r := &Result{Tenant: t}
		results = append(results, r)
		group.Go(func() error { m.migrate(ctx, r); return nil })
	}
	_ = group.Wait() // each result has its own error
	report := newReport(results)
	return report, errors.Join(report.err(), listErr)
}
