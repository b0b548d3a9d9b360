package doctor

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// reach is a schema of a connection's default path.
type reach struct {
	Schema    string
	Relations int  // that are no extension's
	Create    bool // the login may make some
}

// basePath looks at the search_path of a connection to which the plugin has not
// sent a tenant. It must lead nowhere.
func (e *exam) basePath(ctx context.Context, c *pgx.Conn) error {
	reached, err := structs[reach](ctx, c, `select n.nspname::text,
		(select pg_catalog.count(*) from pg_catalog.pg_class t where t.relnamespace = n.oid and t.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
			and not exists (select from pg_catalog.pg_depend d where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objid = t.oid and d.deptype = 'e')),
		pg_catalog.has_schema_privilege(n.oid, 'create')
		from pg_catalog.pg_namespace n where n.nspname = any (pg_catalog.current_schemas(false)) and not pg_catalog.starts_with(n.nspname::text, 'pg_')`)
	if err != nil {
		return err
	}
	f := Finding{ID: "base-path", Severity: Info}
	var names []string
	relations := 0
	for _, r := range reached {
		names = append(names, r.Schema)
		relations += r.Relations
		if r.Relations > 0 {
			f.Severity = Problem
		} else if r.Create {
			f.Severity = max(f.Severity, Warning)
		}
	}
	if f.Severity == Info {
		return nil
	}
	f.What = fmt.Sprintf("The default search_path of the base pool's connections leads to the schema %s, where there are %s.", some(names), count(relations, "relation"))
	f.Why = "It should lead nowhere: SQL that reaches a connection past its tenant's settings must find no table to read, and no place to make one."
	f.How, err = e.emptyPath(ctx, c)
	e.find(f)
	return err
}

// emptyPath says how the default path becomes empty. A pooler may log in to another
// database, as another role, than its client names.
func (e *exam) emptyPath(ctx context.Context, c *pgx.Conn) (string, error) {
	if !e.pooled {
		return "The plugin connects with an empty search_path, and something sets another one afterwards: take it out of the hooks of plugin.WithPoolConfig (AfterConnect, BeforeAcquire, PrepareConn).", nil
	}
	role, err := one[string](ctx, c, "select pg_catalog.format('%I in database %I', session_user, pg_catalog.current_database())")
	return fmt.Sprintf(`The pooler does not pass search_path on at start-up, so set it at the server and reconnect: alter role %s set search_path = ''.`, role), err
}

// public looks at the schema public, where everybody could make tables before
// PostgreSQL 15, and databases that were upgraded still let them.
func (e *exam) public(ctx context.Context, c *pgx.Conn) error {
	open, err := texts(ctx, c, `select n.nspname::text from pg_catalog.pg_namespace n,
		pg_catalog.aclexplode(coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) a
		where a.grantee = 0 and a.privilege_type = 'CREATE' and (n.nspname = 'public' or n.nspname = any ($1))`, e.paths.shared())
	if err != nil {
		return err
	}
	if len(open) > 0 {
		e.find(Finding{
			ID: "public-create", Severity: Warning,
			What: fmt.Sprintf("Everybody may make tables and functions in the schema %s.", some(open)),
			Why:  "What one tenant's role or login makes there, with a name that others look for, their statements may meet.",
			How:  fmt.Sprintf("revoke create on schema %s from public.", quotedAll(open)),
		})
	}
	return e.publicTables(ctx, c)
}

// publicTables looks for tables in public where it is not the place of shared ones.
func (e *exam) publicTables(ctx context.Context, c *pgx.Conn) error {
	if slices.Contains(e.paths.shared(), "public") {
		return nil
	}
	tables, err := texts(ctx, c, `select t.relname::text from pg_catalog.pg_class t join pg_catalog.pg_namespace n on n.oid = t.relnamespace
		where n.nspname = 'public' and t.relkind in ('r', 'p', 'v', 'm', 'f')
		and not exists (select from pg_catalog.pg_depend d where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objid = t.oid and d.deptype = 'e')`)
	if err != nil || len(tables) == 0 {
		return err
	}
	e.find(Finding{
		ID: "public-tables", Severity: Warning,
		What: fmt.Sprintf("The schema public has %s (%s), and is neither the shared scope's nor behind the tenants' own schemas.", count(len(tables), "table"), some(tables)),
		Why:  "Nothing that goes through the plugin finds them. They were mostly made by a migration that ran without a tenant, and may hold rows of all of them.",
		How:  "Find out what has made them, move the rows, and drop them. If they are shared, list public with plugin.WithSharedScope.",
	})
	return nil
}
