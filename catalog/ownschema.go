package catalog

import (
	"context"
	_ "embed"
	"fmt"
	"strings"
	"time"

	"gorm.io/gorm"
)

// buildSchema makes role and schema in one transaction, and what is in them in others.
func (c *Catalog) buildSchema(ctx context.Context, row *tenantRow) error {
	err := c.transactAtServer(ctx, row, func(tx *gorm.DB) error {
		if err := c.claimToBuild(tx, row); err != nil {
			return err
		}
		if row.Role != nil {
			if err := c.makeRole(tx, row, ""); err != nil {
				return err
			}
			c.step(row, "role made")
		}
		return c.makeSchema(tx, row)
	})
	if err != nil {
		return err
	}
	c.step(row, "schema made")
	return c.migrate(ctx, newPlace{
		server: row, schemas: append([]string{row.Schema}, c.shared...), scope: row.scope(),
		begin:  func(tx *gorm.DB) error { return c.claimToBuild(tx, row) },
		finish: func(tx *gorm.DB) error { return c.migrated(tx, row) },
	})
}

func (c *Catalog) makeSchema(tx *gorm.DB, row *tenantRow) error {
	schema := object{aSchema, row.Schema}
	if found, err := c.take(tx, row, schema); err != nil || found {
		return err
	}
	if err := run(tx, "create schema "+schema.quoted()); err != nil {
		return fmt.Errorf("make %s: %w", schema, err)
	}
	return schema.put(tx, c.mark(row))
}

// dropWait is how long dropping a schema waits for statements that still use it.
const dropWait = 10 * time.Second

// dropSchema drops schema and role, both or none.
func (c *Catalog) dropSchema(tx *gorm.DB, row *tenantRow, state State) error {
	if err := c.reclaim(tx, row, state); err != nil {
		return err
	}
	schema := object{aSchema, row.Schema}
	found, err := c.mine(tx, row, schema)
	if err != nil {
		return err
	}
	if found {
		if err := dropObjects(tx, schema); err != nil {
			return fmt.Errorf("drop %s: %w", schema, err)
		}
	}
	return c.dropRole(tx, row)
}

// dropObjects drops a schema with all that is in it, and nothing else.
func dropObjects(tx *gorm.DB, schema object) error {
	if err := standsAlone(tx, schema); err != nil {
		return err
	}
	return run(tx,
		fmt.Sprintf("set local lock_timeout = %d", dropWait.Milliseconds()),
		"drop schema "+schema.quoted()+" cascade")
}

// dependents finds objects outside of a schema that PostgreSQL would drop with it:
// views, foreign keys, columns of its types, defaults, triggers.
//
//go:embed dependents.sql
var dependents string

// standsAlone returns ErrForeign if something outside of the schema depends on
// what is in it.
func standsAlone(tx *gorm.DB, schema object) error {
	var others []string
	if err := tx.Raw(dependents, schema.name).Scan(&others).Error; err != nil {
		return err
	}
	if len(others) > 0 {
		return fmt.Errorf("%w: these depend on it, and would go with it: %s", ErrForeign, strings.Join(others, ", "))
	}
	return nil
}
