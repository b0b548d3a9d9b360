package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// This file looks for what PostgreSQL shares between the tenants of one database, or does for one of
// them under the search_path of another. docs/shared-tables.md tells the reasons.

// elsewhere is a trigger that other tenants' statements fire.
type elsewhere struct {
	Table, Trigger, Function string
	Tenants                  int
}

// firedElsewhere asks for triggers on tenants' tables that run because of a foreign key to another
// schema, and whose function has no search_path of its own. An action deletes or updates rows of
// the table with the foreign key, which has actions on further tables.
const firedElsewhere = `with recursive action as (
		select k.conrelid, k.confrelid, e.cause, e.effect from pg_catalog.pg_constraint k, lateral (values
			('delete', case k.confdeltype when 'c' then 'delete' when 'n' then 'update' when 'd' then 'update' end),
			('update', case when k.confupdtype in ('c', 'n', 'd') then 'update' end)) e (cause, effect)
		where k.contype = 'f' and e.effect is not null),
	own as (select t.oid, t.relname, n.nspname from pg_catalog.pg_class t join pg_catalog.pg_namespace n on n.oid = t.relnamespace where n.nspname = any ($1)),
	reached as (
		select t.oid, a.effect from action a join own t on t.oid = a.conrelid join pg_catalog.pg_class r on r.oid = a.confrelid
		join pg_catalog.pg_namespace m on m.oid = r.relnamespace where m.nspname <> t.nspname
		union select t.oid, a.effect from reached f join action a on a.confrelid = f.oid and a.cause = f.effect join own t on t.oid = a.conrelid)
	select t.relname::text, g.tgname::text, p.proname::text, pg_catalog.count(distinct t.nspname)
	from reached f join own t on t.oid = f.oid join pg_catalog.pg_trigger g on g.tgrelid = t.oid
	join pg_catalog.pg_proc p on p.oid = g.tgfoid
	where not g.tgisinternal and g.tgenabled <> 'D' and g.tgtype & case f.effect when 'delete' then 8 else 16 end <> 0
	and p.pronamespace <> 'pg_catalog'::pg_catalog.regnamespace
	and not exists (select from pg_catalog.unnest(p.proconfig) s where pg_catalog.starts_with(s, 'search_path='))
	group by 1, 2, 3 order by 1, 2, 3`

// foreignTriggers looks for triggers that run under the search_path of another tenant.
func (e *exam) foreignTriggers(ctx context.Context, c *pgx.Conn) error {
	var found []elsewhere
	err := pgx.BeginFunc(ctx, c, func(tx pgx.Tx) (err error) {
		// The planner expects too much of it, and would compile it for seconds.
		if _, err = tx.Exec(ctx, "set local jit = off"); err == nil {
			found, err = structs[elsewhere](ctx, tx.Conn(), firedElsewhere, e.tenantSchemaNames())
		}
		return err
	})
	if err != nil || len(found) == 0 {
		return err
	}
	var names []string
	for _, f := range found {
		names = append(names, fmt.Sprintf("%s on %s (function %s, %s)", f.Trigger, f.Table, f.Function, count(f.Tenants, "tenant")))
	}
	e.find(Finding{
		ID: "foreign-trigger", Severity: Warning,
		What: fmt.Sprintf("Foreign keys that lead out of tenants' schemas have actions (CASCADE, SET NULL, SET DEFAULT), and these fire triggers whose functions have no search_path of their own: %s.", some(names)),
		Why:  "When one tenant's statement, or one of the shared scope, deletes or changes the shared row, PostgreSQL changes the rows of all tenants, and runs their triggers under the search_path of that statement: a name that the function looks up leads to another tenant's table, and one tenant's data are written there, with roles too.",
		How:  "In a migration, give each tenant's function a path of its own: create or replace function … set search_path from current, or alter function … set search_path = the tenant's schema, pg_temp. Or let the foreign key have NO ACTION. If the function names no table, accept the finding.",
	})
	return nil
}

// routine is a function in PL/pgSQL.
type routine struct{ Schema, Name, Source string }

// sharedRoutines looks for functions of shared schemas that have variables of tenants' types.
func (e *exam) sharedRoutines(ctx context.Context, c *pgx.Conn) error {
	routines, err := structs[routine](ctx, c, `select n.nspname::text, p.proname::text, p.prosrc from pg_catalog.pg_proc p
		join pg_catalog.pg_namespace n on n.oid = p.pronamespace join pg_catalog.pg_language l on l.oid = p.prolang
		where l.lanname = 'plpgsql' and n.nspname = any ($1)
		and not exists (select from pg_catalog.unnest(p.proconfig) s where pg_catalog.starts_with(s, 'search_path='))
		and not exists (select from pg_catalog.pg_depend d where d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass and d.objid = p.oid and d.deptype = 'e')
		order by 1, 2`, e.paths.shared())
	if err != nil || len(routines) == 0 {
		return err
	}
	types, err := texts(ctx, c, `select distinct t.typname::text from pg_catalog.pg_type t join pg_catalog.pg_namespace n on n.oid = t.typnamespace
		where n.nspname = any ($1) and t.typtype in ('c', 'e', 'd', 'r', 'm')`, e.tenantSchemaNames())
	if err != nil {
		return err
	}
	var names []string
	for _, r := range routines {
		used := slices.DeleteFunc(declaredTypes(r.Source), func(name string) bool { return !slices.Contains(types, name) })
		if len(used) > 0 {
			names = append(names, fmt.Sprintf("%s.%s (%s)", r.Schema, r.Name, some(used)))
		}
	}
	if len(names) == 0 {
		return nil
	}
	e.find(Finding{
		ID: "shared-routine", Severity: Problem,
		What: fmt.Sprintf("PL/pgSQL functions in shared schemas declare variables of types that are tenants' own: %s.", some(names)),
		Why:  "A session compiles such a function once, for the tenant that calls it first. For the next tenant the variables still have the first one's types: with other columns or enum values the function fails or puts values into the wrong columns.",
		How:  "Make the function in each tenant's schema, by a migration. Or declare record instead of a row type and text instead of an enum, or run what needs the type by EXECUTE.",
	})
	return nil
}

// largeObjects looks for large objects that several tenants share.
func (e *exam) largeObjects(ctx context.Context, c *pgx.Conn) error {
	const most = 1000 // there may be millions
	n, err := one[int](ctx, c, "select pg_catalog.count(*) from (select from pg_catalog.pg_largeobject_metadata limit $1) l", most)
	if err != nil || n == 0 || len(e.tenantSchemas()) < 2 {
		return err
	}
	number := count(n, "large object")
	if n == most {
		number = "at least " + number
	}
	e.find(Finding{
		ID: "large-objects", Severity: Warning,
		What: fmt.Sprintf("The database in which tenants have schemas has %s.", number),
		Why:  "A large object is in no schema: it has a number, which is the database's. Without roles every tenant can read, change and delete all of them; with roles those that its own role has made, or all if lo_compat_privileges is on. A dropped tenant leaves its large objects behind.",
		How:  "Move them into columns of type bytea in the tenants' tables and call lo_unlink, or give tenants that need large objects a database of their own. Keep lo_compat_privileges off.",
	})
	return nil
}

// tenantExtensions looks for extensions that stand in a tenant's schema.
func (e *exam) tenantExtensions(ctx context.Context, c *pgx.Conn) error {
	found, err := texts(ctx, c, `select pg_catalog.format('%s in %s', x.extname, n.nspname) from pg_catalog.pg_extension x
		join pg_catalog.pg_namespace n on n.oid = x.extnamespace where n.nspname = any ($1)`, e.tenantSchemaNames())
	if err != nil || len(found) == 0 {
		return err
	}
	e.find(Finding{
		ID: "tenant-extension", Severity: Problem,
		What: fmt.Sprintf("Extensions of the database stand in schemas of tenants: %s.", some(found)),
		Why:  "A database has each extension once. Other tenants do not find its functions and types, and when the tenant is dropped the extension goes with it, and with the extension every column, default and index of other tenants that uses it.",
		How:  "alter extension … set schema extensions, a schema listed by WithSharedSchemas, to which tenants' roles have USAGE. In migrations write create extension if not exists … schema extensions. An extension that can't be moved has to be dropped and made again.",
	})
	return nil
}

// tenantSchemaNames returns the schemas of the base pool's database that are tenants'.
func (e *exam) tenantSchemaNames() []string { return slices.Collect(maps.Keys(e.tenantSchemas())) }

// declaredTypes returns the types of variables that the source of a PL/pgSQL function declares
// without a schema, in lower case where they are not quoted: of "invoices%rowtype" and
// "invoices.title%type" it is "invoices".
func declaredTypes(source string) (types []string) {
	words := plpgsqlWords(source)
	for i := 0; i < len(words); i++ {
		if words[i] != "declare" {
			continue
		}
		for i++; i < len(words) && words[i] != "begin"; i++ {
			from := i
			for i < len(words) && words[i] != ";" && words[i] != "begin" {
				i++
			}
			if name := declaredType(words[from:i]); name != "" {
				types = append(types, name)
			}
			if i < len(words) && words[i] == "begin" {
				break
			}
		}
	}
	return types
}

// declaredType returns the type of one declaration, or "" if that is a variable's or has a schema.
func declaredType(words []string) string {
	if len(words) > 1 && words[1] == "constant" {
		words = slices.Delete(slices.Clone(words), 1, 2)
	}
	at := func(i int) string {
		if i < len(words) {
			return words[i]
		}
		return ""
	}
	name := strings.Trim(at(1), `"`)
	switch {
	case at(2) == "%" && at(3) == "type": // another variable's
		return ""
	case at(2) != ".":
		return name
	case at(4) == "%" && at(5) == "type": // a column's
		return name
	}
	return ""
}
