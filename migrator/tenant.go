package migrator

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/go-gormigrate/gormigrate/v2"
	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/driver"
	"github.com/tenantry/tenantry/scope"
)

// migrate brings one tenant up to date and fills in its result.
func (m *Migrator) migrate(ctx context.Context, r *Result) {
	start := time.Now()
	err := errors.New("a migration ended its goroutine")
	var applied []string
	defer func() { // also when apply does not return
		r.Duration = time.Since(start)
		if err != nil {
			r.Err = describe(r.Tenant, err)
			return
		}
		r.Applied = applied
	}()
	applied, err = m.apply(ctx, r.Tenant)
}

// describe makes err a *scope.TenantError, once.
func describe(t scope.Tenant, err error) error {
	var known *scope.TenantError
	if errors.As(err, &known) {
		return err
	}
	return &scope.TenantError{Op: "migrate", Tenant: t, Err: err}
}

// apply runs the pending migrations in one transaction. A migration that
// panics fails its tenant only.
func (m *Migrator) apply(ctx context.Context, t scope.Tenant) (applied []string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a migration panicked: %v", p)
		}
	}()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	ctx = scope.With(ctx, t)
	begin := driver.WithPreamble(ctx, func(schema string) string { return lockAndCreate(t, schema) })
	err = m.db.WithContext(begin).Transaction(func(tx *gorm.DB) error {
		// From here on without the preamble: a migration may begin other
		// transactions with this context.
		var err error
		applied, err = m.migrations.run(tx.WithContext(ctx))
		return err
	})
	return applied, err
}

// lockAndCreate locks the tenant against other migrators until the end of the
// transaction and makes sure that its schema exists. The lock comes first:
// two sessions that create one schema at a time collide in spite of IF NOT
// EXISTS. A session's lock would leak through a transaction pooler.
func lockAndCreate(t scope.Tenant, schema string) string {
	sql := fmt.Sprintf("select pg_catalog.pg_advisory_xact_lock(%d); ", lockKey(t))
	if schema == "" {
		return sql
	}
	// Only if it is missing: CREATE SCHEMA IF NOT EXISTS asks for the right to
	// create one in any case, which the owner of a schema need not have.
	return sql + fmt.Sprintf("do $tenantry$ begin if not exists (select from pg_catalog.pg_namespace where nspname = %s) then create schema %s; end if; end $tenantry$; ",
		driver.Literal(schema), pgx.Identifier{schema}.Sanitize())
}

// lockKey is the tenant's key among the database's advisory locks. Two tenants
// with one key would only wait for each other.
func lockKey(t scope.Tenant) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte("tenantry/migrator/" + t.String())) // never fails
	return int64(h.Sum64())                                   //nolint:gosec // any 64 bits are a key
}

// recording returns migrations that also note what they did.
func recording(migrations Migrations, applied *[]string) []*gormigrate.Migration {
	out := make([]*gormigrate.Migration, len(migrations))
	for i, m := range migrations {
		out[i] = &gormigrate.Migration{ID: m.ID, Rollback: m.Rollback, Migrate: func(tx *gorm.DB) error {
			if err := m.Migrate(tx); err != nil {
				return fmt.Errorf("migration %q: %w", m.ID, err)
			}
			*applied = append(*applied, m.ID)
			return nil
		}}
	}
	return out
}
