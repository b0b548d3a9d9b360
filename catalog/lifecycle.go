package catalog

import (
	"context"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/tenantry/tenantry/scope"
)

// Suspend stops serving a tenant: its requests and statements are refused with
// [ErrSuspended]. Its data stays, and its migrations go on. Statements under way
// end in their own time. Suspending a suspended tenant changes nothing; in any
// other state than [Active] it is a *StateError.
func (c *Catalog) Suspend(ctx context.Context, t scope.Tenant) error {
	return c.turn(ctx, "suspend", t, Active, Suspended)
}

// Resume serves a suspended tenant again. Resuming an active tenant changes
// nothing; in any other state it is a *StateError.
func (c *Catalog) Resume(ctx context.Context, t scope.Tenant) error {
	return c.turn(ctx, "resume", t, Suspended, Active)
}

func (c *Catalog) turn(ctx context.Context, op string, t scope.Tenant, from, to State) error {
	moved, err := c.move(ctx, &tenantRow{ID: t.String()}, from, map[string]any{"state": to})
	if err != nil {
		return &scope.TenantError{Op: op, Tenant: t, Err: err}
	}
	if moved {
		return nil
	}
	row, err := c.row(ctx, t)
	if err != nil {
		return err
	}
	if row.State == to {
		return nil
	}
	return &StateError{Tenant: t, State: row.State, Op: op}
}

// Rename gives a tenant another display name and other hosts, the first of them
// the primary one; those that it had before are free again. An empty name leaves
// the name, no hosts leave the hosts. Id and placement stay. Errors are those of
// [Catalog.Create].
func (c *Catalog) Rename(ctx context.Context, t scope.Tenant, name string, hosts ...string) error {
	if name != "" {
		if err := checkName(name); err != nil {
			return err
		}
	}
	rows, err := c.hosts(t, hosts)
	if err != nil {
		return err
	}
	err = c.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error { return rename(tx, t, name, rows) })
	c.cache.forget(t)
	return describeViolation(err, "rename", t.String())
}

// rename locks the tenant's row first: of two calls at a time one comes after the
// other.
func rename(tx *gorm.DB, t scope.Tenant, name string, hosts []hostRow) error {
	var row tenantRow
	if err := tx.Clauses(clause.Locking{Strength: "NO KEY UPDATE"}).Take(&row, "id = ?", t.String()).Error; err != nil {
		return err
	}
	if name == "" {
		name = row.Name
	}
	err := tx.Model(&row).Updates(map[string]any{"name": name, "updated_at": time.Now()}).Error
	if err != nil || len(hosts) == 0 {
		return err
	}
	if err := tx.Delete(&hostRow{}, "tenant = ?", t.String()).Error; err != nil {
		return err
	}
	return tx.Create(&hosts).Error
}
