package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"gorm.io/gorm"

	"github.com/tenantry/tenantry/plugin"
)

// build makes what a tenant's row says: schema or database, role, tables. What is
// there already, from a try that was cut off, is taken as it is.
func (c *Catalog) build(ctx context.Context, row *tenantRow) error {
	if err := c.check(row); err != nil {
		return err
	}
	if row.taken != "" {
		if whole, err := c.adoptThere(ctx, row); whole || err != nil {
			return err
		}
	}
	if row.Kind == OwnDatabase {
		return c.buildDatabase(ctx, row)
	}
	return c.buildSchema(ctx, row)
}

// demolish drops what was made for a tenant, in reverse. What is gone already is
// no error; what isn't marked as the tenant's is. The row must be in the given
// state, Failed or Deleting.
func (c *Catalog) demolish(ctx context.Context, row *tenantRow, state State) error {
	if row.Kind == OwnDatabase {
		return c.atServer(ctx, row, func(db *gorm.DB) error { return c.dropDatabase(db, row, state) })
	}
	return c.transactAtServer(ctx, row, func(tx *gorm.DB) error { return c.dropSchema(tx, row, state) })
}

// atServer calls f with a session on the tenant's server, in the shared database,
// if the row names a place that may be a tenant's.
func (c *Catalog) atServer(ctx context.Context, row *tenantRow, f func(*gorm.DB) error) error {
	if err := c.check(row); err != nil {
		return err
	}
	s, err := c.administer(ctx, row)
	if err != nil {
		return err
	}
	defer s.close()
	return f(s.db.WithContext(ctx))
}

// transactAtServer calls f in a transaction in the shared database of the tenant's
// server, as its administrator.
func (c *Catalog) transactAtServer(ctx context.Context, row *tenantRow, f func(tx *gorm.DB) error) error {
	if row.ServerName == Main { // the catalog has connections there
		if err := c.check(row); err != nil {
			return err
		}
		return c.db.WithContext(ctx).Transaction(f)
	}
	return c.atServer(ctx, row, func(db *gorm.DB) error { return db.Transaction(f) })
}

// reclaim claims the tenant and looks at the master's row once more. The lock of
// the work may have been lost without anybody's knowledge, and another process may
// have made the tenant in the meantime: only what the row still gives up is
// dropped. Whoever makes the tenant again waits for the claim.
func (c *Catalog) reclaim(db *gorm.DB, row *tenantRow, state State) error {
	if err := c.claim(db, row); err != nil {
		return err
	}
	if row.spare {
		return c.mustBe(db.Statement.Context, row, spareDropping)
	}
	last, err := c.row(db.Statement.Context, row.id())
	if err != nil {
		return err
	}
	same := last.State == state && last.samePlace(row)
	if !same || state == Failed && last.ActivatedAt != nil {
		return errors.New("another call has changed its row meanwhile, and nothing was dropped")
	}
	return nil
}

// check refuses a place that is not a tenant's, whatever the row says: the
// master's own, or a server's shared database.
func (c *Catalog) check(row *tenantRow) error {
	_, err := plugin.SearchPath(row.Schema)
	own := row.Kind == OwnDatabase
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrForeign, err)
	case slices.Contains(c.shared, row.Schema), !own && row.Schema == "public", row.Schema == "tenantry":
		return fmt.Errorf("%w: schema %q of tenant %q", ErrForeign, row.Schema, row.ID)
	case own && row.Database == row.Server.Database, !own && row.Database != row.Server.Database, row.Cluster != row.Server.Cluster:
		return fmt.Errorf("%w: database %q of tenant %q", ErrForeign, row.Database, row.ID)
	}
	return nil
}

// administer returns a session as the administrator of the tenant's server, in the
// server's shared database. Close it.
func (c *Catalog) administer(ctx context.Context, row *tenantRow) (*session, error) {
	server, err := c.connString(ctx, &row.Server)
	if err != nil {
		return nil, err
	}
	s, err := c.dial(ctx, row.ServerName, plugin.Database{Server: server})
	if err != nil {
		return nil, fmt.Errorf("server %q: %w", row.ServerName, err)
	}
	return s, nil
}

// claim waits until the server has let go of the tenant: it may still be at the
// last statement of a process that has ended, and what that makes would show up
// only later. In a transaction the claim ends with it, otherwise with the session.
func (c *Catalog) claim(db *gorm.DB, row *tenantRow) error {
	lock := "pg_advisory_lock"
	if _, inTx := db.Statement.ConnPool.(gorm.TxCommitter); inTx {
		lock = "pg_advisory_xact_lock" // a session's would stay with a pooler
	}
	return run(db, fmt.Sprintf("select pg_catalog.%s(pg_catalog.hashtextextended('tenantry/%s/%s', 0))", lock, c.identity, row.ID))
}

// claimToBuild is claim for what is made. A spare may have been dropped meanwhile,
// by a process that took this one for dead.
func (c *Catalog) claimToBuild(db *gorm.DB, row *tenantRow) error {
	if err := c.claim(db, row); err != nil || !row.spare {
		return err
	}
	return c.mustBe(db.Statement.Context, row, spareBuilding)
}

// connString returns the server's connection string, as an administrator.
func (c *Catalog) connString(ctx context.Context, server *serverRow) (string, error) {
	if server.Name == Main {
		return c.dsn(), nil
	}
	return c.ring.open(ctx, connStringOf(server.Name), server.Conn)
}

// migrated gives the tenant's role, or whoever statements log in as, the rights on the tables that the migrations made.
func (c *Catalog) migrated(tx *gorm.DB, row *tenantRow) error {
	c.step(row, "migrated")
	if row.Role == nil && c.servingRole(row) == "" {
		return nil
	}
	if err := c.grant(tx, row); err != nil {
		return err
	}
	c.step(row, "granted")
	return nil
}

// sharedFor returns the schemas behind the tenant's own.
func (c *Catalog) sharedFor(row *tenantRow) []string {
	if row.Kind == OwnDatabase {
		return nil
	}
	return c.shared
}
