package catalog

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// A serving role is who tenants' statements log in as on a server, if that is not its
// administrator. All of its rights are given in grant, in one transaction with the last
// migration of the tenant, and in openToServing.

// servingOn returns the serving role of a server, "" if there is none.
func (c *Catalog) servingOn(server *serverRow) string {
	if server.Name == Main {
		return c.serving
	}
	return server.ServingRole
}

// servingRole returns the serving role of a tenant, "" if there is none. A database has a
// login of its own.
func (c *Catalog) servingRole(row *tenantRow) string {
	if row.Kind == OwnDatabase {
		return ""
	}
	return c.servingOn(&row.Server)
}

// grantRole lets a serving role SET ROLE to a tenant's. It inherits nothing where
// PostgreSQL can keep that apart, from version 16 on.
func grantRole(tx *gorm.DB, role, serving string) error {
	grant := fmt.Sprintf("grant %s to %s", pgx.Identifier{role}.Sanitize(), pgx.Identifier{serving}.Sanitize())
	options, err := hasGrantOptions(tx)
	if err != nil {
		return err
	}
	if options {
		grant += " with inherit false, set true"
	}
	if err := run(tx, grant); err != nil {
		return fmt.Errorf("let role %q become %q: %w", serving, role, err)
	}
	return nil
}

// hasGrantOptions reports whether a membership has the options INHERIT and SET.
func hasGrantOptions(db *gorm.DB) (has bool, err error) {
	err = db.Raw("select pg_catalog.current_setting('server_version_num')::pg_catalog.int4 >= 160000").Scan(&has).Error
	return has, err
}

// openToServing checks the serving role of the master's server, and gives it its rights
// on the shared scope where they lack. With nothing to do it takes no lock.
func (c *Catalog) openToServing(ctx context.Context) error {
	db := c.db.WithContext(ctx)
	if err := checkServing(db, c.serving); err != nil {
		return fmt.Errorf("catalog: WithServingRole: %w", err)
	}
	lacks, err := lacksShared(db, c.serving)
	if err == nil && lacks {
		err = db.Transaction(func(tx *gorm.DB) error {
			limit := fmt.Sprintf("set local lock_timeout = %d", dropWait.Milliseconds())
			if err := run(tx, limit, oneGrant); err != nil {
				return err
			}
			return grantShared(tx, c.serving)
		})
	}
	if err != nil {
		return fmt.Errorf("catalog: WithServingRole: rights on the schema public of the master database: %w", err)
	}
	return nil
}

// checkServing refuses a serving role that could administer. db is an administrator's.
func checkServing(db *gorm.DB, name string) error {
	var found []struct {
		Same, Powerful, Member bool
		Administrator          string
	}
	err := db.Raw(`select rolname = session_user as same, rolsuper or rolcreaterole or rolcreatedb as powerful,
		pg_catalog.pg_has_role(oid, session_user, 'member') as member, session_user as administrator
		from pg_catalog.pg_roles where rolname = ?`, name).Scan(&found).Error
	switch {
	case err != nil:
		return err
	case len(found) == 0:
		return fmt.Errorf("there is no role %q: create it as docs/security.md says", name)
	case found[0].Same:
		return fmt.Errorf("role %q is the administrator itself: name the role that GORM logs in as, or leave it out", name)
	case found[0].Powerful:
		return fmt.Errorf("role %[1]q may administer: alter role %[1]q nosuperuser nocreaterole nocreatedb", name)
	case found[0].Member:
		return fmt.Errorf("role %q is a member of the administrator %[2]q, and has its rights: revoke %[2]q from it", name, found[0].Administrator)
	}
	return nil
}

// lacksShared reports whether a serving role lacks rights on the schema public that the
// administrator can give, or has one too much: on the list of migrations, which is made
// after the rights were given.
func lacksShared(db *gorm.DB, serving string) (lacks bool, err error) {
	err = db.Raw(`select not pg_catalog.has_schema_privilege(r.oid, n.oid, 'usage') and pg_catalog.pg_has_role(n.nspowner, 'usage')
			or exists (select from pg_catalog.pg_class c where c.relnamespace = n.oid and c.relname = 'migrations'
				and pg_catalog.pg_has_role(c.relowner, 'usage') and pg_catalog.has_table_privilege(r.oid, c.oid, 'insert'))
			or pg_catalog.has_schema_privilege(n.oid, 'create')
				and not exists (select from pg_catalog.pg_default_acl d, pg_catalog.aclexplode(d.defaclacl) a
					where d.defaclnamespace = n.oid and d.defaclobjtype = 'S' and a.grantee = r.oid
					and d.defaclrole = (select oid from pg_catalog.pg_roles where rolname = current_user))
		from pg_catalog.pg_roles r, pg_catalog.pg_namespace n where r.rolname = ? and n.nspname = 'public'`, serving).Scan(&lacks).Error
	return lacks, err
}

// grantShared is grantRows for the schema public, where others may have tables, too,
// extensions for example: it gives rights on the administrator's. Behind them come the
// rights on tables to be made, the last of which says that all were given.
func grantShared(tx *gorm.DB, serving string) error {
	role := pgx.Identifier{serving}.Sanitize()
	var statements []string
	err := tx.Raw(`with public as (select oid, nspowner from pg_catalog.pg_namespace where nspname = 'public')
		select 'grant usage on schema public to ' || @role from public where pg_catalog.pg_has_role(nspowner, 'usage')
		union all select case when c.relkind = 'S' then 'grant usage, select, update on sequence '
			when c.relname = 'migrations' then 'grant select on ' else 'grant select, insert, update, delete on ' end
			|| 'public.' || pg_catalog.quote_ident(c.relname) || ' to ' || @role
		from public p join pg_catalog.pg_class c on c.relnamespace = p.oid
		where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and pg_catalog.pg_has_role(c.relowner, 'usage')
		union all select 'revoke insert, update, delete on public.migrations from ' || @role
		from public p join pg_catalog.pg_class c on c.relnamespace = p.oid where c.relname = 'migrations' and pg_catalog.pg_has_role(c.relowner, 'usage')
		union all select 'alter default privileges in schema public grant ' || rights || ' to ' || @role
		from public, (values ('select, insert, update, delete on tables'), ('usage, select, update on sequences')) v (rights)
		where pg_catalog.has_schema_privilege(oid, 'create')`, sql.Named("role", role)).Scan(&statements).Error
	if err != nil {
		return err
	}
	return run(tx, statements...)
}

// describeServing fills in who serves on a server, and seals the connection string.
func (c *Catalog) describeServing(ctx context.Context, row *serverRow, connString string) (err error) {
	row.ServingConn, row.ServingRole = nil, ""
	if connString == "" {
		return nil
	}
	d := plugin.Database{Server: connString}
	if _, err := d.Config(); err != nil {
		return invalid("serving connection string", "", err.Error())
	}
	if row.ServingRole, err = c.whoServes(ctx, row, d); err == nil {
		err = c.asAdministrator(ctx, row, func(db *gorm.DB) error { return checkServing(db, row.ServingRole) })
	}
	if err != nil {
		return fmt.Errorf("catalog: server %q: the serving connection string: %w", row.Name, err)
	}
	row.ServingConn, err = c.ring.seal(ctx, servingConnOf(row.Name), connString)
	return err
}

// whoServes logs in as tenants' statements will, and returns as whom.
func (c *Catalog) whoServes(ctx context.Context, row *serverRow, d plugin.Database) (role string, err error) {
	s, err := c.dial(ctx, row.Name, d)
	if err != nil {
		return "", err
	}
	defer s.close()
	db := s.db.WithContext(ctx)
	cluster, database, err := identify(db)
	if err == nil && (cluster != row.Cluster || database != row.Database) {
		err = errors.New("it leads to another database than the administrator's")
	}
	if err == nil {
		err = db.Raw("select session_user").Scan(&role).Error
	}
	return role, err
}

// asAdministrator calls f with a session on a server, in the shared database.
func (c *Catalog) asAdministrator(ctx context.Context, server *serverRow, f func(*gorm.DB) error) error {
	s, err := c.administer(ctx, &tenantRow{ServerName: server.Name, Server: *server})
	if err != nil {
		return err
	}
	defer s.close()
	return f(s.db.WithContext(ctx))
}

// changeServing fills in what a change says of who serves. The new role gets its rights on
// the tenants first. With a new administrator's address the old one must still lead to the
// same place.
func (c *Catalog) changeServing(ctx context.Context, row *serverRow, change ServerChange) (err error) {
	var connString string
	switch {
	case change.ServingConnString != nil && row.Name == Main:
		return invalid("serving connection string", "", "on the master's own server statements log in as GORM does, see WithServingRole")
	case change.ServingConnString != nil:
		connString = *change.ServingConnString
	case change.ConnString != nil && row.ServingConn != nil:
		if connString, err = c.ring.open(ctx, servingConnOf(row.Name), row.ServingConn); err != nil {
			return err
		}
	default:
		return nil
	}
	if err := c.describeServing(ctx, row, connString); err != nil {
		return err
	}
	return c.serveAll(ctx, row)
}

// serveAll gives the serving role of a server what it lacks of the tenants there.
func (c *Catalog) serveAll(ctx context.Context, server *serverRow) error {
	tenants, err := c.unserved(ctx, server)
	errs := []error{err}
	for _, t := range tenants {
		err := c.alone(ctx, t, func(ctx context.Context) error {
			row, err := c.row(ctx, t)
			if err != nil {
				return err
			}
			row.Server.ServingConn, row.Server.ServingRole = server.ServingConn, server.ServingRole // to be
			return c.serve(ctx, row)
		})
		if !errors.Is(err, ErrUnknown) { // it was dropped meanwhile
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// serve gives the serving role its rights on one tenant. The caller is alone at work on it.
func (c *Catalog) serve(ctx context.Context, row *tenantRow) error {
	if c.servingRole(row) == "" {
		return nil
	}
	err := c.transactAtServer(ctx, row, func(tx *gorm.DB) error {
		if err := c.claim(tx, row); err != nil {
			return err
		}
		return c.grant(tx, row)
	})
	if err != nil {
		return &scope.TenantError{Op: "serve", Tenant: row.id(), Err: err}
	}
	return nil
}

// unserved returns the tenants of a server that the serving role can't serve, because they
// were made for another one or for none. It is one query, however many there are.
func (c *Catalog) unserved(ctx context.Context, server *serverRow) (tenants []scope.Tenant, err error) {
	serving := c.servingOn(server)
	if serving == "" {
		return nil, nil
	}
	var rows []tenantRow
	err = c.db.WithContext(ctx).Select("id", "schema", "role").
		Where("server = ? and kind = ? and state in ?", server.Name, OwnSchema, []State{Active, Suspended}).Order("id").Find(&rows).Error
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	type place struct {
		At     int    `json:"at"`
		Schema string `json:"schema"`
		Role   string `json:"role"`
	}
	places := make([]place, len(rows))
	for i := range rows {
		places[i] = place{i, rows[i].Schema, rows[i].role()}
	}
	text, err := json.Marshal(places)
	if err != nil {
		return nil, err
	}
	var lacking []int
	err = c.asAdministrator(ctx, server, func(db *gorm.DB) error {
		options, err := hasGrantOptions(db)
		if err != nil {
			return err
		}
		becomes := "member"
		if options {
			becomes = "set"
		}
		return db.Raw(`select p.at from pg_catalog.jsonb_to_recordset(?::jsonb) as p (at int, schema text, role text)
			join pg_catalog.pg_namespace n on n.nspname = p.schema left join pg_catalog.pg_roles r on r.rolname = p.role
			where case when p.role = '' then not pg_catalog.has_schema_privilege(?, n.oid, 'usage') else not pg_catalog.pg_has_role(?, r.oid, ?) end
			order by 1`, string(text), serving, serving, becomes).Scan(&lacking).Error
	})
	if err != nil {
		return nil, fmt.Errorf("catalog: server %q: what role %q may do: %w", server.Name, serving, err)
	}
	for _, i := range lacking {
		tenants = append(tenants, rows[i].id())
	}
	return tenants, nil
}

// Direct returns how the migrator connects to the master database, past the *gorm.DB: as
// the administrator. It is nil without [WithServingRole], and the *gorm.DB's own login
// administers. The configuration holds the password, and the hook of [WithBeforeConnect] as
// its BeforeConnect.
func (c *Catalog) Direct() (*pgxpool.Config, error) {
	if c.serving == "" {
		return nil, nil //nolint:nilnil // nil is an answer
	}
	return c.connConfig(Main, plugin.Database{Server: c.dsn()})
}
