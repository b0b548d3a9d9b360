package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/catalog"
)

// login looks at the role that the application logs in as.
func (e *exam) login(ctx context.Context, c *pgx.Conn) error {
	name, err := one[string](ctx, c, "select session_user::text")
	if err != nil {
		return err
	}
	i := slices.IndexFunc(e.here.roles, func(r role) bool { return r.Name == name })
	if i < 0 {
		return fmt.Errorf("role %q is not in pg_roles", name)
	}
	switch r := e.here.roles[i]; {
	case r.Superuser:
		e.find(Finding{
			ID: "login-superuser", Severity: Problem,
			What: fmt.Sprintf("The application logs in as the superuser %q.", name),
			Why:  "Rights and row level security do not bind a superuser. SQL that escapes its tenant's role, by injection for example, can read every database and the files of the server.",
			How:  "Log in as a role without SUPERUSER that owns the database, with CREATEROLE and CREATEDB only if the catalog makes roles and databases.",
		})
	case r.BypassRLS:
		e.find(Finding{
			ID: "login-bypassrls", Severity: Warning,
			What: fmt.Sprintf("The application logs in as %q, which has BYPASSRLS.", name),
			Why:  "Row level security does not hold for it: policies that keep tenants apart are passed over.",
			How:  fmt.Sprintf("alter role %s nobypassrls.", quoted(name)),
		})
	}
	e.loginMakesRoles(name)
	return nil
}

// loginMakesRoles looks at CREATEROLE, which the catalog's administrator needs and
// nobody else.
func (e *exam) loginMakesRoles(name string) {
	i := slices.IndexFunc(e.here.roles, func(r role) bool { return r.Name == name })
	if r := e.here.roles[i]; e.catalog != nil || r.Superuser || !r.CreateRole {
		return
	}
	e.find(Finding{
		ID: "login-createrole", Severity: Warning,
		What: fmt.Sprintf("The application logs in as %q, which has CREATEROLE, and there is no catalog that makes roles.", name),
		Why:  "Whoever gets SQL past the application can make logins; before PostgreSQL 16 also change the passwords of others that are no superusers.",
		How:  fmt.Sprintf("alter role %s nocreaterole.", quoted(name)),
	})
}

// tenantRoles looks for rights of tenants' roles beyond those that the catalog
// gives: to read and write rows.
func (e *exam) tenantRoles(context.Context, *pgx.Conn) error {
	kinds := map[string]catalog.Kind{}
	for _, t := range e.tenants {
		if t.Role != "" && t.Server == catalog.Main {
			kinds[t.Role] = t.Kind
		}
	}
	var faults []string
	for _, r := range e.here.roles {
		kind, known := kinds[r.Name]
		if !known && !e.here.marked(r.Mark) {
			continue
		}
		if more := r.excess(kind); len(more) > 0 {
			faults = append(faults, fmt.Sprintf("%s (%s)", r.Name, strings.Join(more, ", ")))
		}
	}
	if len(faults) == 0 {
		return nil
	}
	e.find(Finding{
		ID: "tenant-role", Severity: Problem,
		What: fmt.Sprintf("Tenants' roles can do more than the catalog allows them: %s.", some(faults)),
		Why:  "A tenant's role is the fence around its statements. With these attributes or memberships they reach beyond the tenant's own schema or database.",
		How:  "alter role … nosuperuser nobypassrls nocreaterole nocreatedb noreplication noinherit (and nologin for a tenant with a schema); revoke the roles of which it is a member.",
	})
	return nil
}

// excess returns what a tenant's role has too much.
func (r role) excess(kind catalog.Kind) (more []string) {
	for _, a := range []struct {
		has  bool
		name string
	}{
		{r.Superuser, "superuser"}, {r.BypassRLS, "bypassrls"}, {r.CreateRole, "createrole"}, {r.CreateDB, "createdb"},
		{r.Replication, "replication"}, {r.Inherit, "inherit"}, {r.Login && kind == catalog.OwnSchema, "login"},
	} {
		if a.has {
			more = append(more, a.name)
		}
	}
	if len(r.MemberOf) > 0 {
		more = append(more, "member of "+some(r.MemberOf))
	}
	return more
}

// right is one that somebody has on a schema.
type right struct{ Schema, Holder, Privilege string }

// openSchemas looks for rights on a tenant's schema that its own role and its owner
// do not hold: everybody's, or another tenant's. Rights on the tables in it are
// worth nothing without.
func (e *exam) openSchemas(ctx context.Context, c *pgx.Conn) error {
	schemas := e.tenantSchemas()
	held, err := structs[right](ctx, c, `select n.nspname::text, coalesce(r.rolname::text, ''), pg_catalog.lower(a.privilege_type)
		from pg_catalog.pg_namespace n, pg_catalog.aclexplode(n.nspacl) a left join pg_catalog.pg_roles r on r.oid = a.grantee
		where a.grantee <> n.nspowner and n.nspname = any ($1) order by 1, 2, 3`, slices.Collect(maps.Keys(schemas)))
	if err != nil {
		return err
	}
	tenants := map[string]bool{}
	for _, r := range schemas {
		tenants[r] = r != ""
	}
	var faults []string
	for _, h := range held {
		others := h.Holder == "" || tenants[h.Holder] && h.Holder != schemas[h.Schema]
		if own := tenants[h.Holder] && h.Holder == schemas[h.Schema]; others || own && h.Privilege == "create" {
			faults = append(faults, fmt.Sprintf("%s on %s to %s", h.Privilege, h.Schema, holder(h.Holder)))
		}
	}
	if len(faults) == 0 {
		return nil
	}
	e.find(Finding{
		ID: "tenant-schema-rights", Severity: Problem,
		What: fmt.Sprintf("Tenants' schemas are open to others than their own role, or to it for more than use: %s.", some(faults)),
		Why:  "With USAGE a role reaches the tables in another tenant's schema, as far as it has rights on them; with CREATE it can put tables and functions in the way of the tenant's own.",
		How:  "revoke all on schema … from public, or from the role named; grant usage to the tenant's own role alone.",
	})
	return nil
}

func holder(name string) string {
	if name == "" {
		return "everybody"
	}
	return name
}
