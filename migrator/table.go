package migrator

import (
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/sqltext"
)

// trackingTable is the table of applied migrations, as gormigrate makes it, by its
// qualified and quoted name: what a schema behind the tenant's own has never counts.
type trackingTable string

// tableIn returns the tracking table of a schema.
func tableIn(schema string) trackingTable {
	return trackingTable(pgx.Identifier{schema, "migrations"}.Sanitize())
}

// createSQL makes the table.
func (t trackingTable) createSQL() string {
	return "create table " + string(t) + " (id varchar(255), primary key (id))"
}

// tableOf returns the tracking table of the schema in which tx makes tables, and
// makes it if it is missing.
func tableOf(tx *gorm.DB) (trackingTable, error) {
	var found struct {
		Schema *string
		Table  *string
	}
	err := tx.Raw("select s as schema, pg_catalog.to_regclass(pg_catalog.quote_ident(s) || '.migrations')::text as table from pg_catalog.current_schema() s").Scan(&found).Error
	if err != nil {
		return "", err
	}
	if found.Schema == nil {
		return "", errors.New("migrator: the search_path names no schema that exists")
	}
	table := tableIn(*found.Schema)
	if found.Table == nil {
		err = tx.Exec(table.createSQL()).Error
	}
	return table, err
}

// idsSQL reads the ids in the table.
func (t trackingTable) idsSQL() string { return "select id from " + string(t) }

// copySQL reads them at the beginning of a transaction: COPY is not planned at all.
func (t trackingTable) copySQL() string { return "copy " + string(t) + " (id) to stdout" }

func sorted(ids []string) []string {
	slices.Sort(ids)
	return ids
}

// applied returns the ids in the table, sorted. It goes past GORM, which would take
// longer than the statement.
func (t trackingTable) applied(tx *gorm.DB) (ids []string, err error) {
	rows, err := tx.Statement.ConnPool.QueryContext(tx.Statement.Context, t.idsSQL())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return sorted(ids), rows.Err()
}

// record returns the SQL that writes down steps that were done.
func (t trackingTable) record(done []step) string {
	var added, removed []string
	for _, s := range done {
		if s.back {
			removed = append(removed, sqltext.Literal(s.migration.ID))
		} else {
			added = append(added, "("+sqltext.Literal(s.migration.ID)+")")
		}
	}
	var statements []string
	if len(added) > 0 {
		statements = append(statements, "insert into "+string(t)+" (id) values "+strings.Join(added, ", "))
	}
	if len(removed) > 0 {
		statements = append(statements, "delete from "+string(t)+" where id in ("+strings.Join(removed, ", ")+")")
	}
	return strings.Join(statements, "; ")
}

// execute goes past GORM, to which an id with a question mark would be a parameter.
func execute(tx *gorm.DB, sql string) error {
	_, err := tx.Statement.ConnPool.ExecContext(tx.Statement.Context, sql)
	return err
}

// after returns what is applied after steps were done, sorted.
func after(before []string, done []step) []string {
	applied := append([]string{}, before...)
	for _, s := range done {
		if s.back {
			applied = slices.DeleteFunc(applied, func(id string) bool { return id == s.migration.ID })
		} else {
			applied = append(applied, s.migration.ID)
		}
	}
	slices.Sort(applied)
	return applied
}
