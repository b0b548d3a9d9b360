package catalog

import (
	"context"
	"fmt"
	"log/slog"

	"gorm.io/gorm"

	"github.com/tenantry/tenantry/scope"
)

// Drop takes a tenant out for ever, with all its data: its schema or database, its
// role, its hosts and its row. confirm must be the tenant's id once more, or
// nothing happens but [ErrNotConfirmed].
//
// From the start of Drop on the tenant is not served. Statements that still run
// in a database of its own are ended; those in a schema are waited for, 10 seconds
// at most. If Drop ends midway, the tenant stays [Deleting], and [Catalog.Repair] or Drop goes on.
// What isn't marked as this tenant's is never dropped, nor a schema on which
// something outside depends: then Drop returns [ErrForeign] before it changes
// anything.
func (c *Catalog) Drop(ctx context.Context, t scope.Tenant, confirm string) error {
	if confirm != t.String() || t.IsZero() {
		return ErrNotConfirmed
	}
	return c.alone(ctx, t, func(ctx context.Context) error {
		row, err := c.row(ctx, t)
		if err != nil {
			return err
		}
		return c.drop(ctx, row)
	})
}

// drop drops the tenant. The caller is alone at work on it.
func (c *Catalog) drop(ctx context.Context, row *tenantRow) error {
	if err := c.mayDrop(ctx, row); err != nil {
		return &scope.TenantError{Op: "drop", Tenant: row.id(), Err: err}
	}
	moved, err := c.move(ctx, row, row.State, map[string]any{"state": Deleting})
	if err == nil && !moved {
		err = ErrBusy // it was suspended or resumed meanwhile
	}
	if err != nil {
		return &scope.TenantError{Op: "drop", Tenant: row.id(), Err: err}
	}
	c.step(row, "deleting")
	if err := c.demolish(ctx, row, Deleting); err != nil {
		return &scope.TenantError{Op: "drop", Tenant: row.id(), Err: err}
	}
	c.step(row, "place dropped")
	if err := c.erase(ctx, row); err != nil {
		return &scope.TenantError{Op: "drop", Tenant: row.id(), Err: err}
	}
	c.step(row, "dropped")
	if row.Kind == OwnDatabase {
		if err := c.dropLastTemplate(ctx, row); err != nil {
			c.logger.Warn("catalog: a template database that nobody needs is left", slog.String("server", row.ServerName), slog.Any("error", err))
		}
	}
	return nil
}

// mayDrop looks, before anything changes, whether everything is the tenant's.
func (c *Catalog) mayDrop(ctx context.Context, row *tenantRow) error {
	return c.atServer(ctx, row, func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error { return c.allMine(tx, row) })
	})
}

func (c *Catalog) allMine(tx *gorm.DB, row *tenantRow) error {
	place := object{aSchema, row.Schema}
	if row.Kind == OwnDatabase {
		place = object{aDatabase, row.Database}
	}
	found, err := c.mine(tx, row, place)
	if err == nil && found && row.Kind == OwnSchema {
		err = standsAlone(tx, place)
	}
	if err == nil && row.Role != nil {
		_, err = c.mine(tx, row, object{aRole, row.role()})
	}
	return err
}

// erase deletes the tenant's row, and with it the hosts.
func (c *Catalog) erase(ctx context.Context, row *tenantRow) error {
	err := c.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		if err := tx.Delete(&tenantRow{}, "id = ? and state = ? and database = ? and schema = ?", row.ID, Deleting, row.Database, row.Schema).Error; err != nil {
			return err
		}
		if row.Kind == OwnSchema {
			return nil
		}
		return tx.Delete(&databaseRow{}, "cluster = ? and name = ?", row.Cluster, row.Database).Error
	})
	c.cache.forget(row.id())
	if err != nil {
		return fmt.Errorf("delete the row: %w", err)
	}
	return nil
}
