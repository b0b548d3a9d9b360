package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
)

// trackingTable is gormigrate's: each tenant has one, and the shared part has its own.
const trackingTable = "migrations"

// twin is a table of a shared schema that tenants have, too.
type twin struct {
	Schema, Table string
	Tenants       int // schemas that have it
}

// shadows looks for tables that stand both in a shared schema and in a tenant's.
func (e *exam) shadows(ctx context.Context, c *pgx.Conn) error {
	twins, err := structs[twin](ctx, c, `select n.nspname::text, s.relname::text, pg_catalog.count(*)
		from pg_catalog.pg_class s join pg_catalog.pg_namespace n on n.oid = s.relnamespace
		join pg_catalog.pg_class t on t.relname = s.relname and t.relkind in ('r', 'p', 'v', 'm', 'f')
		join pg_catalog.pg_namespace m on m.oid = t.relnamespace
		where n.nspname = any ($1) and m.nspname = any ($2) and s.relkind in ('r', 'p', 'v', 'm', 'f') and s.relname <> $3
		group by 1, 2 order by 1, 2`, e.paths.shared(), slices.Collect(maps.Keys(e.tenantSchemas())), trackingTable)
	if err != nil {
		return err
	}
	var behind, scoped []string
	for _, t := range twins {
		text := fmt.Sprintf("%s.%s (%s)", t.Schema, t.Table, count(t.Tenants, "tenant"))
		if slices.Contains(e.paths.behind, t.Schema) {
			behind = append(behind, text)
		} else {
			scoped = append(scoped, text)
		}
	}
	if len(behind) > 0 {
		e.find(Finding{
			ID: "shadowed-table", Severity: Problem,
			What: fmt.Sprintf("There are tables both in a schema behind the tenants' own and in tenants' schemas: %s.", some(behind)),
			Why:  "A tenant with the table uses its own, one without it reads and writes the shared one, together with all others: no error says so.",
			How:  "Drop or rename one of the two, or take the schema out of WithSharedSchemas and name shared tables in full.",
		})
	}
	if len(scoped) > 0 {
		e.find(Finding{
			ID: "twin-table", Severity: Warning,
			What: fmt.Sprintf("There are tables both in the shared scope and in tenants' schemas: %s.", some(scoped)),
			Why:  "One of the two is mostly left over from a migration that ran in the wrong scope. Code under scope.Shared uses the shared one without an error, and rows end up where nobody looks for them.",
			How:  "Drop the one that has no business there, or rename it.",
		})
	}
	return nil
}
