package catalog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/tenantry/tenantry/internal/pgerr"
)

// RemoveServer takes a server out of the catalog. One that still has tenants, and
// [Main], is refused. Its spares are dropped; if it has any, it must answer. Otherwise the
// server itself is not touched.
func (c *Catalog) RemoveServer(ctx context.Context, name string) error {
	if name == Main {
		return invalid("server", name, "it is the master's own")
	}
	if _, err := c.server(ctx, name); err != nil {
		return err
	}
	return c.atWork(ctx, func(ctx context.Context) error {
		return c.whenFree(ctx, sparesKey(name), func(ctx context.Context) error { return c.removeServer(ctx, name) })
	})
}

// removeServer removes the server. The caller is alone at work on its spares.
func (c *Catalog) removeServer(ctx context.Context, name string) error {
	var tenants int64
	if err := c.db.WithContext(ctx).Model(&tenantRow{}).Where("server = ?", name).Count(&tenants).Error; err != nil {
		return fmt.Errorf("catalog: remove server %q: %w", name, err)
	}
	if tenants > 0 {
		return stillHasTenants(name)
	}
	if err := c.dropSpares(ctx, name, all); err != nil {
		return fmt.Errorf("catalog: remove server %q: %w", name, err)
	}
	err := c.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		var row serverRow
		if err := tx.Clauses(clause.Locking{Strength: "UPDATE"}).Take(&row, "name = ?", name).Error; err != nil {
			return err
		}
		if err := tx.Delete(&row).Error; err != nil {
			return err
		}
		return tx.Delete(&databaseRow{}, "cluster = ? and name = ?", row.Cluster, row.Database).Error
	})
	if pgerr.Is(err, pgerr.ForeignKeyViolation) { // of one that has signed up meanwhile
		return stillHasTenants(name)
	}
	return describeViolation(err, "remove server", name)
}

func stillHasTenants(server string) error {
	return invalid("server", server, "it still has tenants")
}

// lockAgain is the time between two tries for a lock.
const lockAgain = 50 * time.Millisecond

// whenFree is locked, but waits until nobody else has the lock.
func (c *Catalog) whenFree(ctx context.Context, key int64, f func(context.Context) error) error {
	for {
		err := c.locked(ctx, key, f)
		if !errors.Is(err, errLocked) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(lockAgain):
		}
	}
}
