package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// Main is the name of the master's own server. It is there from the start, and
// its shared database is the master database.
const Main = "main"

// Server is a PostgreSQL server on which tenants live, as the catalog knows it.
type Server struct {
	Name      string
	Database  string // in which tenants with a schema of their own live
	Capacity  int    // most tenants; 0 is no limit
	Full      bool   // takes no new tenants, whatever the capacity
	Tenants   int    // that it has, in whatever state
	Spares    int    // places that are ready for sign-ups, see [WithSpares]
	CreatedAt time.Time

	// ServingRole is who the statements of tenants with a schema log in as, see
	// [WithServingRole]; "" if that is the administrator.
	ServingRole string
}

// NewServer is what [Catalog.AddServer] needs to know of a server.
type NewServer struct {
	// Name is 1 to 48 characters of a-z, 0-9, '_' and '-', a letter first.
	Name string

	// ConnString leads to the database in which tenants with a schema live, as an
	// administrator who may create schemas, databases and roles. URL or keyword
	// form. It is stored sealed and never shown. Do not connect through a pooler
	// here if tenants are to have databases of their own: a pooler knows only
	// the databases of its configuration.
	ConnString string

	// ServingConnString leads to the same database, as the role that the statements of
	// tenants with a schema log in as: it may be a pooler's, and the role must not be able
	// to administer, see [WithServingRole]. It is stored as ConnString is. "" is
	// ConnString.
	ServingConnString string

	// Capacity is how many tenants the server takes; 0 is no limit.
	Capacity int
}

// Format writes the name, whatever the verb.
func (n NewServer) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "server %q", n.Name) }

// MarshalText returns the same, for JSON and for logs. There is no way back.
func (n NewServer) MarshalText() ([]byte, error) { return []byte(fmt.Sprint(n)), nil }

// AddServer connects to a server, and from then on places tenants there. A
// database that the catalog uses already, also under another address, is refused
// with [ErrTaken].
func (c *Catalog) AddServer(ctx context.Context, n NewServer) error {
	if _, err := scope.Parse(n.Name); err != nil || n.Name == Main {
		return invalid("server", n.Name, "a server's name is 1 to 48 characters of a-z, 0-9, '_' and '-', a letter first, and not "+Main)
	}
	if _, err := c.server(ctx, n.Name); err == nil {
		return &InputError{Field: "server", Value: n.Name, Err: ErrTaken}
	}
	row := serverRow{Name: n.Name, Capacity: int64(n.Capacity)}
	if err := c.describeServer(ctx, &row, n.ConnString, n.Capacity); err != nil {
		return err
	}
	if err := c.describeServing(ctx, &row, n.ServingConnString); err != nil {
		return err
	}
	err := c.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		if err := insertDatabase(tx, row.Cluster, row.Database, OwnSchema); err != nil {
			return err
		}
		return tx.Create(&row).Error
	})
	c.stir()
	return describeViolation(err, "server", n.Name)
}

// describeServer fills in what the server itself says, and seals its connection
// string.
func (c *Catalog) describeServer(ctx context.Context, row *serverRow, connString string, capacity int) (err error) {
	if capacity < 0 {
		return invalid("capacity", fmt.Sprint(capacity), "it is negative")
	}
	d := plugin.Database{Server: connString}
	if _, err := d.Config(); err != nil {
		return invalid("connection string", "", err.Error())
	}
	if row.Cluster, row.Database, err = c.where(ctx, row.Name, d); err != nil {
		return fmt.Errorf("catalog: server %q: %w", row.Name, err)
	}
	row.Conn, err = c.ring.seal(ctx, connStringOf(row.Name), connString)
	return err
}

// where asks a server who it is.
func (c *Catalog) where(ctx context.Context, server string, d plugin.Database) (cluster, database string, err error) {
	s, err := c.dial(ctx, server, d)
	if err != nil {
		return "", "", err
	}
	defer s.close()
	err = s.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		if err := c.mayMake(tx); err != nil {
			return err
		}
		cluster, database, err = identify(tx)
		return err
	})
	return cluster, database, err
}

// mayMake returns what an administrator of a server lacks.
func (c *Catalog) mayMake(tx *gorm.DB) error {
	var may struct {
		Role                string
		Schemas, Everything bool
	}
	err := tx.Raw(`select rolname as role, pg_catalog.has_database_privilege(pg_catalog.current_database(), 'create') as schemas,
		rolsuper or rolcreaterole as everything from pg_catalog.pg_roles where rolname = current_user`).Scan(&may).Error
	switch {
	case err != nil:
		return err
	case !may.Schemas:
		return fmt.Errorf("role %q may not create schemas there: make it the owner of the database, or grant it CREATE on it", may.Role)
	case c.roles && !may.Everything:
		return fmt.Errorf("role %q may not create roles, which WithRoles needs: alter role %q createrole", may.Role, may.Role)
	}
	return nil
}

func identify(db *gorm.DB) (cluster, database string, err error) {
	err = db.Raw("select system_identifier::text, pg_catalog.current_database()::text from pg_catalog.pg_control_system()").Row().Scan(&cluster, &database)
	if err != nil {
		err = fmt.Errorf("ask the server for its system identifier: %w", err)
	}
	return cluster, database, err
}

// registerMain enters the master's own server.
func (c *Catalog) registerMain(ctx context.Context) error {
	db := c.db.WithContext(ctx)
	cluster, database, err := identify(db)
	if err != nil {
		return fmt.Errorf("catalog: %w", err)
	}
	var servers []serverRow
	if err := db.Find(&servers, "name = ?", Main).Error; err != nil {
		return fmt.Errorf("catalog: read the master's own server: %w", err)
	}
	if len(servers) == 1 && servers[0].Cluster == cluster && servers[0].Database == database {
		return nil // nothing to lock
	}
	err = db.Transaction(func(tx *gorm.DB) error {
		if err := run(tx, fmt.Sprintf("set local lock_timeout = %d", tablesWait.Milliseconds())); err != nil {
			return err
		}
		var known serverRow
		err := tx.Clauses(clause.Locking{Strength: "NO KEY UPDATE"}).Take(&known, "name = ?", Main).Error
		switch {
		case err == nil:
			return c.moveMain(tx, known, cluster, database)
		case !errors.Is(err, gorm.ErrRecordNotFound):
			return err
		}
		row := serverRow{Name: Main, Cluster: cluster, Database: database}
		skip := clause.OnConflict{DoNothing: true} // another process is at it, too
		own := databaseRow{Cluster: cluster, Name: database, Kind: OwnSchema}
		if err := tx.Clauses(skip).Create(&own).Error; err != nil {
			return err
		}
		return tx.Clauses(skip).Create(&row).Error
	})
	if err != nil && !errors.Is(err, ErrMoved) {
		return fmt.Errorf("catalog: register the master's own server: %w", err)
	}
	return err
}

// moveMain follows the master to another place if that is allowed.
func (c *Catalog) moveMain(tx *gorm.DB, known serverRow, cluster, database string) error {
	if known.Cluster == cluster && known.Database == database {
		return nil
	}
	if !c.moved {
		return fmt.Errorf("%w: database %q of the server with system identifier %s, and not %q of %s: if it has moved for good, open it with catalog.WithMovedMaster; never open a copy, whose tenants are the original's",
			ErrMoved, known.Database, known.Cluster, database, cluster)
	}
	return moveServer(tx, known, cluster, database)
}

// moveServer writes down that a server has another identity than it had: it was
// restored from a dump, or its database was renamed. Its tenants go with it.
func moveServer(tx *gorm.DB, known serverRow, cluster, database string) error {
	if known.Cluster == cluster && known.Database == database {
		return nil
	}
	err := tx.Model(&databaseRow{}).Where("cluster = ? and name = ?", known.Cluster, known.Database).
		Updates(map[string]any{"cluster": cluster, "name": database}).Error
	if err != nil {
		return err
	}
	own := tx.Raw(`select database from tenantry.tenants where server = @server and kind = 'database'
		union all select database from tenantry.spares where server = @server and kind = 'database'`, sql.Named("server", known.Name))
	return tx.Model(&databaseRow{}).Where("cluster = ? and name in (?)", known.Cluster, own).Update("cluster", cluster).Error
}

// insertDatabase enters a database and what it is for.
func insertDatabase(tx *gorm.DB, cluster, name string, kind Kind) error {
	return tx.Create(&databaseRow{Cluster: cluster, Name: name, Kind: kind}).Error
}

// ServerChange says what [Catalog.ChangeServer] changes. Nil leaves a field as it
// is.
type ServerChange struct {
	ConnString *string // the same server at another address, or with another login
	Capacity   *int
	Full       *bool

	// ServingConnString is what NewServer's is, "" for none. Its role gets its rights on all
	// tenants of the server before ChangeServer returns, which takes some milliseconds
	// for each.
	ServingConnString *string
}

// ChangeServer changes a server. Connections to its tenants are replaced at once,
// without an error for those in use. The connection string of [Main] is the one
// that the catalog was opened with, and can't be changed here.
func (c *Catalog) ChangeServer(ctx context.Context, name string, change ServerChange) error {
	row, err := c.server(ctx, name)
	if err != nil {
		return err
	}
	if change.Capacity != nil {
		row.Capacity = int64(*change.Capacity)
	}
	if change.Full != nil {
		row.Full = *change.Full
	}
	if change.ConnString != nil {
		if name == Main {
			return invalid("connection string", "", "the master's own server has the one that the catalog was opened with")
		}
		if err := c.describeServer(ctx, &row, *change.ConnString, int(row.Capacity)); err != nil {
			return err
		}
	}
	if err := c.changeServing(ctx, &row, change); err != nil {
		return err
	}
	if row.Capacity < 0 {
		return invalid("capacity", fmt.Sprint(row.Capacity), "it is negative")
	}
	err = c.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		var known serverRow
		if err := tx.Clauses(clause.Locking{Strength: "UPDATE"}).Take(&known, "name = ?", name).Error; err != nil {
			return err
		}
		if change.ConnString != nil {
			if err := moveServer(tx, known, row.Cluster, row.Database); err != nil {
				return err
			}
		}
		return tx.Model(&row).Select(change.columns()).Updates(&row).Error
	})
	c.cache.invalidateAll()
	if err == nil && change.ServingConnString != nil {
		c.stir()
		err = c.serveAll(ctx, &row) // those that have signed up meanwhile
	}
	return describeViolation(err, "server", name)
}

// columns are those that change: others may have changed since they were read.
func (c ServerChange) columns() []string {
	columns := []string{"updated_at"}
	if c.ConnString != nil {
		columns = append(columns, "conn")
	}
	if c.ServingConnString != nil {
		columns = append(columns, "serving_conn", "serving_role")
	}
	if c.Capacity != nil {
		columns = append(columns, "capacity")
	}
	if c.Full != nil {
		columns = append(columns, "full")
	}
	return columns
}

// Format writes which columns change, whatever the verb.
func (c ServerChange) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "change of %q", c.columns()) }

// MarshalText returns the same, for JSON and for logs. There is no way back.
func (c ServerChange) MarshalText() ([]byte, error) { return []byte(fmt.Sprint(c)), nil }

// Servers returns all servers, in the order of their names.
func (c *Catalog) Servers(ctx context.Context) ([]Server, error) {
	servers, err := serversOf(c.db.WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("catalog: list the servers: %w", err)
	}
	for i := range servers {
		if servers[i].Name == Main {
			servers[i].ServingRole = c.serving
		}
	}
	return servers, nil
}

func serversOf(db *gorm.DB) (servers []Server, err error) {
	err = db.Model(&serverRow{}).Order("name").
		Select(`*, (select count(*) from tenantry.tenants t where t.server = servers.name) as tenants,
			(select count(*) from tenantry.spares s where s.server = servers.name and s.state = 'ready') as spares`).
		Find(&servers).Error
	return servers, err
}

func (c *Catalog) server(ctx context.Context, name string) (row serverRow, err error) {
	err = c.db.WithContext(ctx).Take(&row, "name = ?", name).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return row, fmt.Errorf("%w server %q", ErrUnknown, name)
	}
	if err != nil {
		return row, fmt.Errorf("catalog: read server %q: %w", name, err)
	}
	return row, nil
}

// fewestTenants is the default choice.
func fewestTenants(_ context.Context, _ New, servers []Server) (string, error) {
	best := servers[0]
	for _, s := range servers[1:] {
		if s.Tenants < best.Tenants {
			best = s
		}
	}
	return best.Name, nil
}
