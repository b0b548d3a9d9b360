package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/driver"
)

// objects is what may be a tenant's on a server.
type objects struct {
	schemas   []object // of the database in which tenants have schemas
	whole     bool     // those were read, too
	databases []object
	roles     []role
}

// object is a schema or a database.
type object struct {
	Name string
	Mark string // the comment, by which the catalog knows its own
	Torn bool   // a drop of it was cut off
}

// role is a PostgreSQL role, and what it may do.
type role struct {
	Name, Mark string

	Superuser, BypassRLS, CreateRole, CreateDB, Replication, Login, Inherit bool

	MemberOf []string
}

// names of catalogs' marks: see catalog/mark.go.
func mark(identity, tenant string) string {
	return fmt.Sprintf("tenantry %s tenant %s", identity, tenant)
}

// readObjects reads what is on the server of the base pool.
func (e *exam) readObjects(ctx context.Context, c *pgx.Conn) (err error) {
	if e.identity, err = e.readIdentity(ctx, c); err != nil {
		return err
	}
	return e.here.read(ctx, c)
}

// read reads everything, if c leads to the database in which tenants have schemas.
func (o *objects) read(ctx context.Context, c *pgx.Conn) (err error) {
	o.schemas, err = structs[object](ctx, c, `select nspname::text, coalesce(pg_catalog.obj_description(oid, 'pg_namespace'), ''), false
		from pg_catalog.pg_namespace where not pg_catalog.starts_with(nspname::text, 'pg_') and nspname not in ('information_schema', 'tenantry') order by 1`)
	if err != nil {
		return err
	}
	o.whole = true
	return o.readShared(ctx, c)
}

// readShared reads what all databases of a server have in common.
func (o *objects) readShared(ctx context.Context, c *pgx.Conn) (err error) {
	o.databases, err = structs[object](ctx, c, `select datname::text, coalesce(pg_catalog.shobj_description(oid, 'pg_database'), ''), datconnlimit = -2
		from pg_catalog.pg_database order by 1`)
	if err != nil {
		return err
	}
	o.roles, err = structs[role](ctx, c, `select r.rolname::text, coalesce(pg_catalog.shobj_description(r.oid, 'pg_authid'), ''),
		rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication, rolcanlogin, rolinherit, coalesce(g.names, '{}')
		from pg_catalog.pg_roles r left join (
			select m.member, pg_catalog.array_agg(distinct g.rolname::text order by g.rolname::text) as names
			from pg_catalog.pg_auth_members m join pg_catalog.pg_roles g on g.oid = m.roleid group by 1) g on g.member = r.oid
		order by 1`)
	return err
}

// readIdentity returns the catalog's identity, which is in its marks, and "" where
// nobody has the right to read it.
func (e *exam) readIdentity(ctx context.Context, c *pgx.Conn) (string, error) {
	if e.catalog == nil {
		return "", nil
	}
	readable, err := texts(ctx, c, `select case when pg_catalog.has_schema_privilege(n.oid, 'usage') then pg_catalog.has_table_privilege(t.oid, 'select') else false end::pg_catalog.text
		from pg_catalog.pg_class t join pg_catalog.pg_namespace n on n.oid = t.relnamespace where n.nspname = 'tenantry' and t.relname = 'identity'`)
	switch {
	case err != nil:
		return "", err
	case len(readable) == 0:
		return "", errors.New("the *gorm.DB is not open on the master database of the catalog")
	case readable[0] != "true":
		return e.identityAsAdministrator(ctx)
	}
	return one[string](ctx, c, readsIdentity)
}

const readsIdentity = "select id from tenantry.identity"

// identityAsAdministrator reads it where another login serves, which has no right to.
func (e *exam) identityAsAdministrator(ctx context.Context) (string, error) {
	cfg, err := e.catalog.Direct()
	if err != nil || cfg == nil {
		return "", err
	}
	c, err := driver.Connect(ctx, cfg)
	if err != nil {
		return "", fmt.Errorf("as the catalog's administrator: %w", err)
	}
	defer c.Close(ctx)
	return one[string](ctx, c, readsIdentity)
}

// marked reports whether the catalog has made something.
func (e *exam) marked(text string) bool {
	return e.identity != "" && strings.HasPrefix(text, mark(e.identity, ""))
}

// listTenants reads the catalog.
func (e *exam) listTenants(ctx context.Context) (err error) {
	if e.catalog == nil {
		return nil
	}
	if e.known, err = e.catalog.Servers(ctx); err == nil {
		e.tenants, err = allTenants(ctx, e.catalog)
	}
	return err
}

func allTenants(ctx context.Context, c *catalog.Catalog) (all []catalog.Tenant, err error) {
	for t, err := range c.List(ctx, catalog.Filter{}) {
		if err != nil {
			return nil, fmt.Errorf("doctor: %w", err)
		}
		all = append(all, t)
	}
	return all, nil
}

// inBase reports whether a tenant has a schema in the base pool's database.
func (e *exam) inBase(t catalog.Tenant) bool {
	return t.Kind == catalog.OwnSchema && t.Server == catalog.Main
}

// tenantSchemas returns the schemas of the base pool's database that are tenants',
// and the role that each tenant has, if it has one. Of a tenant without a row, who may
// have signed up just now, schema and role have one mark.
func (e *exam) tenantSchemas() map[string]string {
	rows, marks := map[string]string{}, map[string]string{}
	for _, t := range e.tenants {
		if e.inBase(t) {
			rows[t.Schema] = t.Role
		}
	}
	for _, r := range e.here.roles {
		if e.marked(r.Mark) {
			marks[r.Mark] = r.Name
		}
	}
	found := map[string]string{}
	for _, s := range e.here.schemas {
		role, known := rows[s.Name]
		if !known {
			role = marks[s.Mark]
		}
		if (known || e.looksLikeTenant(s)) && !e.isShared(s.Name) {
			found[s.Name] = role
		}
	}
	return found
}

// looksLikeTenant reports whether a schema is a tenant's by its mark or its name.
func (e *exam) looksLikeTenant(s object) bool {
	return e.marked(s.Mark) || strings.HasPrefix(s.Name, e.prefix)
}
