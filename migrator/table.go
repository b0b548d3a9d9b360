package migrator

import (
	"errors"
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

// tableOf returns the tracking table of the schema in which tx makes tables, and makes it if
// it is missing.
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

// applied returns the ids in the table, sorted.
func (t trackingTable) applied(tx *gorm.DB) (ids []string, err error) {
	err = tx.Raw("select id from " + string(t)).Scan(&ids).Error
	slices.Sort(ids)
	return ids, err
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
		values := strings.TrimSuffix(strings.Repeat("(?), ", len(added)), ", ")
		err = tx.Exec("insert into "+string(t)+" (id) values "+values, anys(added)...).Error
	}
	if err == nil && len(removed) > 0 {
		err = tx.Exec("delete from "+string(t)+" where id in ?", removed).Error
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

func anys(ids []string) []any {
	out := make([]any, len(ids))
	for i, id := range ids {
		out[i] = id
	}
	return out
}
