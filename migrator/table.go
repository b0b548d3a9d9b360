package migrator

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"
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

// applied returns the ids in the table, sorted. It goes past GORM, which would take
// longer than the statement.
func (t trackingTable) applied(tx *gorm.DB) (ids []string, err error) {
	rows, err := tx.Statement.ConnPool.QueryContext(tx.Statement.Context, "select id from "+string(t))
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
	slices.Sort(ids)
	return ids, rows.Err()
}

// record writes down steps that were done, and returns what is applied then, sorted.
func (t trackingTable) record(tx *gorm.DB, before []string, done []step) (applied []string, err error) {
	var added, removed []string
	for _, s := range done {
		if s.back {
			removed = append(removed, s.migration.ID)
		} else {
			added = append(added, s.migration.ID)
		}
	}
	if len(added) > 0 {
		err = t.exec(tx, "insert into "+string(t)+" (id) values "+placeholders("($%d)", len(added)), added)
	}
	if err == nil && len(removed) > 0 {
		err = t.exec(tx, "delete from "+string(t)+" where id in ("+placeholders("$%d", len(removed))+")", removed)
	}
	applied = append([]string{}, added...)
	for _, id := range before {
		if !slices.Contains(removed, id) {
			applied = append(applied, id)
		}
	}
	slices.Sort(applied)
	return applied, err
}

func (t trackingTable) exec(tx *gorm.DB, sql string, ids []string) error {
	args := make([]any, len(ids))
	for i, id := range ids {
		args[i] = id
	}
	_, err := tx.Statement.ConnPool.ExecContext(tx.Statement.Context, sql, args...)
	return err
}

// placeholders returns n parameters, each in the given form.
func placeholders(form string, n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(form, i+1)
	}
	return strings.Join(list, ", ")
}
