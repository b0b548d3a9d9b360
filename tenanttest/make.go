package tenanttest

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/internal/driver"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/scope"
)

// make runs the migrations in a new schema. One at a time:
// GORM's AutoMigrate is not quite safe for concurrent use (see migrator.New), and
// would alarm the race detector.
func (f *Factory) make(ctx context.Context, tenant scope.Tenant) (*schema, error) {
	select {
	case f.making <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("tenanttest: %w", context.Cause(ctx))
	}
	defer func() { <-f.making }()
	name, err := f.schemaOf(ctx, tenant)
	if err != nil {
		return nil, err
	}
	quoted := pgx.Identifier{name}.Sanitize()
	err = f.migrations.Apply(scope.With(ctx, tenant), migrator.NewPlace{
		DB:           f.db,
		CreateSchema: fmt.Sprintf("create schema if not exists %[1]s; comment on schema %[1]s is '%s'; ", quoted, markOf(f.life.key)),
	})
	if err != nil {
		return nil, fmt.Errorf("tenanttest: make a tenant: %w", err)
	}
	return examine(ctx, f.pool, name)
}

// schemaOf asks the strategy for the name of a tenant's schema.
func (f *Factory) schemaOf(ctx context.Context, tenant scope.Tenant) (string, error) {
	target, err := f.connector.Locator.Locate(ctx, driver.Scope{Tenant: tenant})
	if err != nil {
		return "", fmt.Errorf("tenanttest: the strategy can't place a new tenant; in these tests use plugin.BySchema: %w", err)
	}
	if target.Lease != nil {
		defer target.Lease.Release()
	}
	if target.Schema == "" || target.Managed || target.Pool != f.connector.Base {
		return "", fmt.Errorf("tenanttest: the strategy does not keep tenants in schemas of the database that GORM was opened on; in these tests use plugin.BySchema")
	}
	return target.Schema, nil
}
