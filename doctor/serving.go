package doctor

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/catalog"
)

// logins looks whether a login serves that administers, too, and whether the serving role
// has the rights that it needs.
func (e *exam) logins(ctx context.Context, c *pgx.Conn) error {
	if e.catalog == nil {
		return nil
	}
	login, err := one[string](ctx, c, "select session_user::text")
	if err != nil {
		return err
	}
	i := slices.IndexFunc(e.here.roles, func(r role) bool { return r.Name == login })
	if i < 0 {
		return fmt.Errorf("role %q is not in pg_roles", login)
	}
	r := e.here.roles[i]
	var one []string // of the servers, what says that there is one login
	for _, s := range e.known {
		switch {
		case s.Name != catalog.Main && s.ServingRole == "" && e.hasSchemas(s.Name):
			one = append(one, "on server "+s.Name+" they log in as its administrator")
		case s.Name == catalog.Main && r.Superuser && s.ServingRole == "": // login-superuser says so
		case s.Name == catalog.Main && s.ServingRole == "":
			one = append(one, fmt.Sprintf("they log in as %q, like the catalog, which has no serving role", login))
		case s.Name == catalog.Main && s.ServingRole != login:
			e.find(Finding{
				ID: "serving-role", Severity: Problem,
				What: fmt.Sprintf("The application logs in as %q, and the catalog was opened with the serving role %q.", login, s.ServingRole),
				Why:  "What the catalog gives to its serving role is of no use to another login: statements fail, or run with rights that were not meant for them.",
				How:  fmt.Sprintf("Open the *gorm.DB with the connection string of %q, or name in catalog.WithServingRole who it logs in as.", s.ServingRole),
			})
		case s.Name == catalog.Main:
			powers, err := e.powers(ctx, c, r)
			if err != nil {
				return err
			}
			one = append(one, powers...)
			if err := e.lacking(ctx, c, login); err != nil {
				return err
			}
		}
	}
	if len(one) == 0 {
		return nil
	}
	e.find(Finding{
		ID: "one-login", Severity: Warning,
		What: fmt.Sprintf("Tenants' statements have rights of an administrator: %s.", some(one)),
		Why:  "SQL that is injected can then leave its tenant's role and make or change roles, drop every tenant's tables, and read the catalog.",
		How:  "Set up two logins, as docs/security.md shows: catalog.WithServingRole, and ServingConnString for other servers. A serving role has neither CREATEROLE nor CREATEDB, and owns no tenant's tables.",
	})
	return nil
}

// servingRole returns who the catalog says that GORM logs in as, "" if that is the
// administrator.
func (e *exam) servingRole() string {
	for _, s := range e.known {
		if s.Name == catalog.Main {
			return s.ServingRole
		}
	}
	return ""
}

// hasSchemas reports whether tenants with schemas live on a server.
func (e *exam) hasSchemas(server string) bool {
	return slices.ContainsFunc(e.tenants, func(t catalog.Tenant) bool { return t.Server == server && t.Kind == catalog.OwnSchema })
}

// powers returns what a serving role may do that an administrator should.
func (e *exam) powers(ctx context.Context, c *pgx.Conn, r role) (powers []string, err error) {
	if r.CreateRole {
		powers = append(powers, fmt.Sprintf("%q has CREATEROLE", r.Name))
	}
	if r.CreateDB {
		powers = append(powers, fmt.Sprintf("%q has CREATEDB", r.Name))
	}
	var schemas []string
	for name := range e.tenantSchemas() {
		schemas = append(schemas, name)
	}
	owned, err := texts(ctx, c, `select distinct n.nspname::text from pg_catalog.pg_namespace n left join pg_catalog.pg_class t on t.relnamespace = n.oid
		join pg_catalog.pg_roles r on r.oid in (n.nspowner, t.relowner) where n.nspname = any ($1) and r.rolname = session_user`, schemas)
	if len(owned) > 0 {
		powers = append(powers, fmt.Sprintf("%q owns tables or schemas of tenants (%s)", r.Name, some(owned)))
	}
	return powers, err
}

// lacking looks for tenants whom the serving role can't serve: it can't become their
// role, or has no right to use their schema.
func (e *exam) lacking(ctx context.Context, c *pgx.Conn, login string) error {
	var ids, schemas, roles []string
	for _, t := range e.tenants {
		if e.inBase(t) && served(t) {
			ids, schemas, roles = append(ids, t.ID.String()), append(schemas, t.Schema), append(roles, t.Role)
		}
	}
	becomes := "member"
	if v, err := one[int](ctx, c, "select pg_catalog.current_setting('server_version_num')::pg_catalog.int4"); err != nil {
		return err
	} else if v >= 160000 {
		becomes = "set"
	}
	faults, err := texts(ctx, c, `select t.id from unnest($1::text[], $2::text[], $3::text[]) as t (id, schema, role)
		join pg_catalog.pg_namespace n on n.nspname = t.schema left join pg_catalog.pg_roles r on r.rolname = t.role
		where case when t.role = '' then not pg_catalog.has_schema_privilege(session_user, n.oid, 'usage') else not pg_catalog.pg_has_role(session_user, r.oid, $4) end`,
		ids, schemas, roles, becomes)
	if err != nil || len(faults) == 0 {
		return err
	}
	e.find(Finding{
		ID: "serving-role", Severity: Problem,
		What: fmt.Sprintf("The serving role %q lacks rights on tenants: %s.", login, some(faults)),
		Why:  "Every statement of these tenants fails (42501). They were made before there was a serving role, or for another one, or somebody has revoked its rights.",
		How:  "Call Catalog.Repair, or run the command tenants repair --all.",
	})
	return nil
}
