package doctor

import (
	"context"
	"fmt"
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
	r := e.here.roles[i]
	if r.Superuser {
		e.find(superuser(fmt.Sprintf("The application logs in as the superuser %q.", name)))
		return nil
	}
	if err := e.loginBecomes(ctx, c, name); err != nil {
		return err
	}
	if r.BypassRLS {
		e.find(Finding{
			ID: "login-bypassrls", Severity: Warning,
			What: fmt.Sprintf("The application logs in as %q, which has BYPASSRLS.", name),
			Why:  "Row level security does not hold for it: policies that keep tenants apart are passed over.",
			How:  fmt.Sprintf("alter role %s nobypassrls.", quoted(name)),
		})
	}
	e.loginMakesRoles(r)
	return nil
}

// loginBecomes looks for roles that the login may take on and that can do what a
// superuser can, or get there (manual section 22.5, Predefined Roles).
func (e *exam) loginBecomes(ctx context.Context, c *pgx.Conn, name string) error {
	powerful, err := texts(ctx, c, `select rolname::text from pg_catalog.pg_roles
		where (rolsuper or rolname in ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files'))
		and pg_catalog.pg_has_role(session_user, oid, 'member')`)
	tenants := e.tenantsRoles() // another check's
	powerful = slices.DeleteFunc(powerful, func(name string) bool { return tenants[name] })
	if err == nil && len(powerful) > 0 {
		e.find(superuser(fmt.Sprintf("The application logs in as %q, a member of %s, which is as good as a superuser.", name, some(powerful))))
	}
	return err
}

func superuser(what string) Finding {
	return Finding{
		ID: "login-superuser", Severity: Problem, What: what,
		Why: "Rights and row level security do not bind a superuser. SQL that escapes its tenant's role, by injection for example, can read every database and the files of the server.",
		How: "Log in as a role without SUPERUSER that is a member of no such role. With a catalog use two logins, of which one administers: see docs/security.md.",
	}
}

// loginMakesRoles looks at CREATEROLE, which the catalog's administrator needs and
// nobody else.
func (e *exam) loginMakesRoles(r role) {
	if e.catalog != nil || !r.CreateRole {
		return
	}
	e.find(Finding{
		ID: "login-createrole", Severity: Warning,
		What: fmt.Sprintf("The application logs in as %q, which has CREATEROLE, and there is no catalog that makes roles.", r.Name),
		Why:  "Whoever gets SQL past the application can make logins; before PostgreSQL 16 also change the passwords of others that are no superusers.",
		How:  fmt.Sprintf("alter role %s nocreaterole.", quoted(r.Name)),
	})
}

// tenantRoles looks for rights of tenants' roles beyond those that the catalog
// gives: to read and write rows.
func (e *exam) tenantRoles() {
	kinds := map[string]catalog.Kind{}
	for _, t := range e.tenants {
		if t.Role != "" {
			kinds[t.Role] = t.Kind
		}
	}
	var faults []string
	e.servers(func(_ string, there *objects) {
		for _, r := range there.roles {
			kind, known := kinds[r.Name]
			if !known && !e.marked(r.Mark) {
				continue
			}
			if more := r.excess(kind); len(more) > 0 {
				faults = append(faults, fmt.Sprintf("%s (%s)", r.Name, strings.Join(more, ", ")))
			}
		}
	})
	if len(faults) == 0 {
		return
	}
	e.find(Finding{
		ID: "tenant-role", Severity: Problem,
		What: fmt.Sprintf("Tenants' roles can do more than the catalog allows them: %s.", some(faults)),
		Why:  "A tenant's role is the fence around its statements. With these attributes or memberships they reach beyond the tenant's own schema or database.",
		How:  "alter role … nosuperuser nobypassrls nocreaterole nocreatedb noreplication noinherit (and nologin for a tenant with a schema); revoke the roles of which it is a member.",
	})
}

// tenantsRoles returns the roles that are tenants', by their rows or their marks.
func (e *exam) tenantsRoles() map[string]bool {
	names := map[string]bool{}
	for _, t := range e.tenants {
		names[t.Role] = t.Role != ""
	}
	for _, r := range e.here.roles {
		if e.marked(r.Mark) {
			names[r.Name] = true
		}
	}
	return names
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
