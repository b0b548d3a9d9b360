package catalog

import (
	"context"
	"fmt"

	"gorm.io/gorm"

	"github.com/tenantry/tenantry/scope"
)

// buildSchema does everything in one transaction.
func (c *Catalog) buildSchema(ctx context.Context, row *tenantRow) error {
	s, err := c.administer(ctx, row, "")
	if err != nil {
		return err
	}
	defer s.close()
	return s.db.WithContext(scope.With(ctx, row.id())).Transaction(func(tx *gorm.DB) error {
		if err := c.claim(tx, row); err != nil {
			return err
		}
		if row.Role != nil {
			if err := c.makeRole(tx, row, ""); err != nil {
				return err
			}
			c.step(row, "role made")
		}
		if err := c.makeSchema(tx, row); err != nil {
			return err
		}
		c.step(row, "schema made")
		return c.furnish(tx, row)
	})
}

func (c *Catalog) makeSchema(tx *gorm.DB, row *tenantRow) error {
	schema := object{aSchema, row.Schema}
	if found, err := c.mine(tx, row, schema); err != nil || found {
		return err
	}
	if err := run(tx, "create schema "+schema.quoted()); err != nil {
		return fmt.Errorf("make %s: %w", schema, err)
	}
	return schema.put(tx, c.mark(row))
}

// dropSchema drops schema and role, both or none.
func (c *Catalog) dropSchema(tx *gorm.DB, row *tenantRow) error {
	if err := c.claim(tx, row); err != nil {
		return err
	}
	schema := object{aSchema, row.Schema}
	found, err := c.mine(tx, row, schema)
	if err != nil {
		return err
	}
	if found {
		if err := run(tx, "drop schema "+schema.quoted()+" cascade"); err != nil {
			return fmt.Errorf("drop %s: %w", schema, err)
		}
	}
	return c.dropRole(tx, row)
}
