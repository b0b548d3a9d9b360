package catalog

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"

	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/scram"
)

// newPassword returns a generated password of 192 random bits.
func newPassword() string {
	random := make([]byte, 24)
	_, _ = rand.Read(random) // never fails
	return base64.RawURLEncoding.EncodeToString(random)
}

// rounds is PostgreSQL's default, and what clients may ask for at least; the password
// needs no stretching.
const rounds = 4096

// makeRole makes the tenant's role: for a database with a login, for a schema
// without. The administrator becomes a member, to be able to work as the role and
// to end its connections.
func (c *Catalog) makeRole(tx *gorm.DB, row *tenantRow, password string) error {
	role := object{aRole, row.role()}
	if found, err := c.take(tx, row, role); err != nil || found {
		return err
	}
	login := "nologin"
	if row.Kind == OwnDatabase {
		v, err := scram.Verifier(password, rounds)
		if err != nil {
			return err
		}
		login = "login password '" + v + "'"
	}
	create := fmt.Sprintf("create role %[1]s nosuperuser nocreatedb nocreaterole noinherit %[2]s; grant %[1]s to current_user", role.quoted(), login)
	if err := tx.Exec(create).Error; err != nil {
		return fmt.Errorf("make %s: %w", role, err)
	}
	return role.put(tx, c.mark(row))
}

// grant gives the tenant's role its rights, and the serving role the right to become it.
// A tenant without a role is read and written by the serving role itself.
func (c *Catalog) grant(tx *gorm.DB, row *tenantRow) error {
	serving := c.servingRole(row)
	role := row.role()
	if row.Role == nil {
		role = serving
	}
	if err := grantRows(tx, row.Schema, role); err != nil {
		return err
	}
	if err := useShared(tx, role, c.sharedFor(row)); err != nil || row.Role == nil || serving == "" {
		return err
	}
	return grantRole(tx, role, serving)
}

// grantRows gives a role its rights on the tables of a schema that are there and on
// those that the administrator will make: to read and to write rows, nothing
// else. The list of applied migrations is read only.
func grantRows(tx *gorm.DB, schemaName, roleName string) error {
	schema, role := pgx.Identifier{schemaName}.Sanitize(), pgx.Identifier{roleName}.Sanitize()
	err := run(tx,
		fmt.Sprintf("grant usage on schema %s to %s", schema, role),
		fmt.Sprintf("grant select, insert, update, delete on all tables in schema %s to %s", schema, role),
		fmt.Sprintf("grant usage, select, update on all sequences in schema %s to %s", schema, role),
		fmt.Sprintf("alter default privileges in schema %s grant select, insert, update, delete on tables to %s", schema, role),
		fmt.Sprintf("alter default privileges in schema %s grant usage, select, update on sequences to %s", schema, role))
	if err != nil {
		return fmt.Errorf("grant role %q its rights: %w", roleName, err)
	}
	var list *string
	if err := tx.Raw("select pg_catalog.to_regclass(?)::text", schema+".migrations").Scan(&list).Error; err != nil || list == nil {
		return err
	}
	return run(tx, fmt.Sprintf("revoke insert, update, delete on %s.migrations from %s", schema, role))
}

// oneGrant lets one transaction at a time change the rights on shared schemas, up to
// its end. Of two PostgreSQL would refuse one: tuple concurrently updated.
const oneGrant = "select pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('tenantry/shared schemas', 0))"

// useShared lets the role use the schemas behind its own, as far as not everybody
// may: PostgreSQL passes over a schema of search_path that a role may not use.
func useShared(tx *gorm.DB, role string, schemas []string) error {
	for _, s := range schemas {
		var may bool
		if err := tx.Raw("select pg_catalog.has_schema_privilege(?, ?, 'usage')", role, s).Scan(&may).Error; err != nil {
			return fmt.Errorf("shared schema %q: %w", s, err)
		}
		if may {
			continue
		}
		if err := run(tx, oneGrant, fmt.Sprintf("grant usage on schema %s to %s", pgx.Identifier{s}.Sanitize(), pgx.Identifier{role}.Sanitize())); err != nil {
			return fmt.Errorf("shared schema %q: %w", s, err)
		}
	}
	return nil
}

// dropRole drops the tenant's role and its rights in the current database.
func (c *Catalog) dropRole(tx *gorm.DB, row *tenantRow) error {
	if row.Role == nil {
		return nil
	}
	role := object{aRole, row.role()}
	found, err := c.mine(tx, row, role)
	if err != nil || !found {
		return err
	}
	drop := "drop role " + role.quoted()
	if row.Kind == OwnSchema { // the rights in another database went with it
		drop = oneGrant + "; drop owned by " + role.quoted() + "; " + drop
	}
	if err := tx.Exec(drop).Error; err != nil {
		return fmt.Errorf("drop %s: %w", role, err)
	}
	return nil
}
