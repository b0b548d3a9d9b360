package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
)

// lockTable is how many locks the server can hold, for all sessions together
// (manual section 20.12, max_locks_per_transaction).
type lockTable struct{ PerTransaction, Sessions int }

func (t lockTable) capacity() int { return t.PerTransaction * t.Sessions }

// weight is a schema and how many locks dropping it takes.
type weight struct {
	Schema string
	Locks  int
}

// locks compares the lock table with what a transaction that drops a tenant, and a
// pg_dump of everything, lock.
func (e *exam) locks(ctx context.Context, c *pgx.Conn) error {
	tables, err := structs[lockTable](ctx, c, `select pg_catalog.current_setting('max_locks_per_transaction')::pg_catalog.int4,
		pg_catalog.current_setting('max_connections')::pg_catalog.int4 + pg_catalog.current_setting('max_prepared_transactions')::pg_catalog.int4`)
	if err != nil {
		return err
	}
	table := tables[0]
	largest, err := structs[weight](ctx, c, heaviest, slices.Collect(maps.Keys(e.tenantSchemas())))
	if err != nil {
		return err
	}
	if len(largest) > 0 {
		e.judgeTenantLocks(table, largest[0])
	}
	dumped, err := one[int](ctx, c, `select pg_catalog.count(*) from pg_catalog.pg_class t join pg_catalog.pg_namespace n on n.oid = t.relnamespace
		where t.relkind in ('r', 'p') and not pg_catalog.starts_with(n.nspname::text, 'pg_') and n.nspname <> 'information_schema'`)
	if err == nil && dumped > table.capacity() {
		e.find(dumpLocks(table, dumped))
	}
	return err
}

// heaviest finds the schema with most objects. DROP SCHEMA locks each relation with
// its TOAST table and index, each type, constraint, default and trigger.
const heaviest = `with mine as (select c.oid, c.relnamespace, c.reltoastrelid from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
		where n.nspname = any ($1) and c.relkind <> 'c'),
	held (schema) as (
		select relnamespace from mine
		union all select relnamespace from mine, pg_catalog.generate_series(1, 2) where reltoastrelid <> 0
		union all select typnamespace from pg_catalog.pg_type
		union all select connamespace from pg_catalog.pg_constraint
		union all select relnamespace from mine join pg_catalog.pg_attrdef d on d.adrelid = mine.oid
		union all select relnamespace from mine join pg_catalog.pg_trigger g on g.tgrelid = mine.oid
		union all select pronamespace from pg_catalog.pg_proc)
	select n.nspname::text, pg_catalog.count(*) from held join pg_catalog.pg_namespace n on n.oid = held.schema
	where n.nspname = any ($1) group by 1 order by 2 desc, 1 limit 1`

// raise says how the lock table becomes larger.
const raise = "Raise max_locks_per_transaction in postgresql.conf (a restart is needed; it costs some 270 bytes of shared memory for each lock)"

func (e *exam) judgeTenantLocks(table lockTable, w weight) {
	f := Finding{
		ID: "tenant-locks", Severity: Warning,
		What: fmt.Sprintf("The largest tenant's schema, %s, has %s, and the server's lock table has room for some %d locks of all sessions.", w.Schema, count(w.Locks, "object"), table.capacity()),
		Why:  "Making and dropping a tenant is one transaction, which locks each object. It takes more than half of the table, and two at a time fail (53200, out of shared memory).",
		How:  raise + ".",
	}
	switch {
	case w.Locks > table.capacity():
		f.Severity = Problem
		f.Why = "Making and dropping a tenant is one transaction, which locks each object: it fails (53200, out of shared memory), and so may other sessions meanwhile."
	case w.Locks*2 <= table.capacity():
		return
	}
	e.find(f)
}

func dumpLocks(table lockTable, tables int) Finding {
	return Finding{
		ID: "dump-locks", Severity: Warning,
		What: fmt.Sprintf("The database has %s, and the server's lock table has room for some %d locks of all sessions.", count(tables, "table"), table.capacity()),
		Why:  "pg_dump locks all tables before it begins: a dump of the whole database fails (53200, out of shared memory).",
		How:  raise + ", dump tenant by tenant (pg_dump --schema), or take physical backups (pg_basebackup).",
	}
}
