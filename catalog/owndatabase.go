package catalog

import (
	"context"
	"fmt"

	"gorm.io/gorm"
)

// buildDatabase makes the login, the database and what is in it. A database can't
// be made in a transaction: each step finds what an earlier try has done.
func (c *Catalog) buildDatabase(ctx context.Context, row *tenantRow) error {
	password, err := c.ring.open(ctx, row.purpose(), row.Password)
	if err != nil {
		return err
	}
	s, err := c.administer(ctx, row)
	if err != nil {
		return err
	}
	defer s.close()
	db := s.db.WithContext(ctx)
	if err := c.claimToBuild(db, row); err != nil {
		return err
	}
	err = db.Transaction(func(tx *gorm.DB) error { return c.makeRole(tx, row, password) })
	if err != nil {
		return err
	}
	c.step(row, "role made")
	if err := c.makeDatabase(ctx, db, row); err != nil {
		return err
	}
	return c.migrateDatabase(ctx, row)
}

func (c *Catalog) makeDatabase(ctx context.Context, db *gorm.DB, row *tenantRow) error {
	database := object{aDatabase, row.Database}
	found, err := c.mine(db, row, database)
	if err != nil {
		return err
	}
	intact, err := database.intact(db)
	if err != nil {
		return err
	}
	if found && !intact {
		if err := run(db, "drop database "+database.quoted()+" with (force)"); err != nil {
			return err
		}
	}
	if !intact {
		if err := c.createDatabase(ctx, db, row); err != nil {
			return fmt.Errorf("make %s: %w", database, err)
		}
		c.step(row, "database made")
	}
	role := object{aRole, row.role()}
	err = run(db,
		fmt.Sprintf("revoke all on database %s from public", database.quoted()),
		fmt.Sprintf("grant connect, temporary on database %s to %s", database.quoted(), role.quoted()))
	if err == nil {
		err = database.put(db, c.mark(row))
	}
	if err != nil {
		return fmt.Errorf("mark %s: %w", database, err)
	}
	c.step(row, "database marked")
	return nil
}

// migrateDatabase makes what is in the database. The caller has claimed the tenant.
func (c *Catalog) migrateDatabase(ctx context.Context, row *tenantRow) error {
	return c.migrate(ctx, newPlace{
		server: row, database: row.Database, schemas: []string{row.Schema}, scope: row.scope(),
		begin: func(tx *gorm.DB) error {
			// Up to PostgreSQL 14 everybody may make tables there.
			return run(tx, "revoke create on schema public from public")
		},
		finish: func(tx *gorm.DB) error { return c.migrated(tx, row) },
	})
}

// dropDatabase drops the database, with the connections that are left in it, and
// then the login.
func (c *Catalog) dropDatabase(db *gorm.DB, row *tenantRow, state State) error {
	if err := c.reclaim(db, row, state); err != nil {
		return err
	}
	database := object{aDatabase, row.Database}
	found, err := c.mine(db, row, database)
	if err != nil {
		return err
	}
	if found {
		if err := run(db, "drop database "+database.quoted()+" with (force)"); err != nil {
			return fmt.Errorf("drop %s: %w", database, err)
		}
		c.step(row, "database dropped")
	}
	return db.Transaction(func(tx *gorm.DB) error { return c.dropRole(tx, row) })
}
