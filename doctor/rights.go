package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/catalog"
)

// right is one that somebody has on a schema or database.
type right struct{ Object, Holder, Privilege string }

func (r right) String() string {
	holder := r.Holder
	if holder == "" {
		holder = "everybody"
	}
	return fmt.Sprintf("%s on %s to %s", r.Privilege, r.Object, holder)
}

// rightsOnSchemas asks who has rights on schemas. The owner has ownership.
const rightsOnSchemas = `select n.nspname::text, coalesce(r.rolname::text, ''), case when a.grantee = n.nspowner then 'ownership' else pg_catalog.lower(a.privilege_type) end
	from pg_catalog.pg_namespace n, pg_catalog.aclexplode(coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) a left join pg_catalog.pg_roles r on r.oid = a.grantee
	where n.nspname = any ($1) group by 1, 2, 3 order by 1, 2, 3`

// rightsOnDatabases asks the same of databases.
const rightsOnDatabases = `select d.datname::text, coalesce(r.rolname::text, ''), case when a.grantee = d.datdba then 'ownership' else pg_catalog.lower(a.privilege_type) end
	from pg_catalog.pg_database d, pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) a left join pg_catalog.pg_roles r on r.oid = a.grantee
	where d.datname = any ($1) group by 1, 2, 3 order by 1, 2, 3`

// tooOpen returns the rights on tenants' objects, which are named with the role of
// each, that belong to nobody but its owner, an administrator: everybody's,
// another tenant's, and the tenant's own if they are more than it needs.
func (e *exam) tooOpen(held []right, roles map[string]string, needs ...string) (faults []string) {
	tenants := e.tenantsRoles()
	for _, h := range held {
		own := h.Holder != "" && h.Holder == roles[h.Object]
		others := h.Holder == "" || tenants[h.Holder] && !own
		if others || own && !slices.Contains(needs, h.Privilege) {
			faults = append(faults, h.String())
		}
	}
	return faults
}

// openSchemas looks for rights on a tenant's schema that only its own role and its
// owner should hold. Rights on the tables in it are worth nothing without.
func (e *exam) openSchemas(ctx context.Context, c *pgx.Conn) error {
	schemas := e.tenantSchemas()
	held, err := structs[right](ctx, c, rightsOnSchemas, slices.Collect(maps.Keys(schemas)))
	if err != nil {
		return err
	}
	if faults := e.tooOpen(held, schemas, "usage"); len(faults) > 0 {
		e.find(Finding{
			ID: "tenant-schema-rights", Severity: Problem,
			What: fmt.Sprintf("Tenants' schemas are open to others than their own role, or to it for more than use: %s.", some(faults)),
			Why:  "With USAGE a role reaches the tables in another tenant's schema, as far as it has rights on them; with CREATE it can put tables and functions in the way of the tenant's own.",
			How:  "revoke all on schema … from public, or from the role named; grant usage to the tenant's own role alone; alter schema … owner to the catalog's login.",
		})
	}
	return nil
}

// openDatabases looks for rights on a tenant's database that only its own login and
// its owner should hold. To everybody PostgreSQL gives CONNECT by itself, also where
// a dump is restored.
func (e *exam) openDatabases(ctx context.Context, c *pgx.Conn) error {
	databases := map[string]string{}
	for _, t := range e.tenants {
		if t.Kind == catalog.OwnDatabase && t.Server == catalog.Main && served(t) {
			databases[t.Database] = t.Role
		}
	}
	held, err := structs[right](ctx, c, rightsOnDatabases, slices.Collect(maps.Keys(databases)))
	if err != nil {
		return err
	}
	if faults := e.tooOpen(held, databases, "connect", "temporary"); len(faults) > 0 {
		e.find(Finding{
			ID: "tenant-database-rights", Severity: Problem,
			What: fmt.Sprintf("Tenants' databases are open to others than their own login, or to it for more than to connect: %s.", some(faults)),
			Why:  "Whoever may connect, another tenant's login for example, sees the names of all tables there, and reaches those on which there are rights for everybody.",
			How:  "revoke all on database … from public, or from the role named; grant connect, temporary to the tenant's own role alone; alter database … owner to the catalog's login.",
		})
	}
	return nil
}

// openCatalog looks for rights of everybody, of tenants and of a serving role on the catalog's tables,
// and the migrator's.
func (e *exam) openCatalog(ctx context.Context, c *pgx.Conn) error {
	held, err := structs[right](ctx, c, rightsOnSchemas, []string{"tenantry"})
	if err != nil {
		return err
	}
	closed := e.tenantsRoles()
	closed[e.servingRole()] = true
	held = slices.DeleteFunc(held, func(h right) bool { return h.Holder != "" && !closed[h.Holder] })
	if len(held) == 0 {
		return nil
	}
	var faults []string
	for _, h := range held {
		faults = append(faults, h.String())
	}
	e.find(Finding{
		ID: "catalog-rights", Severity: Problem,
		What: fmt.Sprintf("The catalog's own schema is open to tenants, to the serving role or to everybody: %s.", some(faults)),
		Why:  "It holds the names, hosts and places of all tenants and their sealed passwords. A tenant's SQL should not reach it, even as far as rights on its tables are missing today.",
		How:  "revoke all on schema tenantry from public, or from the role named.",
	})
	return nil
}
