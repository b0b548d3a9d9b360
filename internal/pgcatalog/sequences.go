package pgcatalog

import (
	"database/sql"
	"strings"

	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/schema"
)

// CreateSequence gives the column of field a sequence <table>_<column>_seq of
// type serialDatabaseType, in the table's schema, as its default.
func (m Migrator) CreateSequence(tx *gorm.DB, stmt *gorm.Statement, field *schema.Field, serialDatabaseType string) error {
	_, table := m.CurrentSchema(stmt, stmt.Table)
	name, _ := table.(string)
	sequence := m.quoted(stmt, name+"_"+field.DBName+"_seq")
	err := tx.Exec("CREATE SEQUENCE IF NOT EXISTS ? AS ?", sequence, clause.Expr{SQL: serialDatabaseType}).Error
	if err != nil {
		return err
	}
	next := clause.Expr{SQL: "nextval('" + strings.ReplaceAll(sequence.SQL, "'", "''") + "')"}
	if err := m.on(tx).alter(stmt, field, "SET DEFAULT ?", next); err != nil {
		return err
	}
	return tx.Exec("ALTER SEQUENCE ? OWNED BY ?.?", sequence, m.CurrentTable(stmt), column(field)).Error
}

// UpdateSequence changes the type of the column of field, and that of its
// sequence, to serialDatabaseType.
func (m Migrator) UpdateSequence(tx *gorm.DB, stmt *gorm.Statement, field *schema.Field, serialDatabaseType string) error {
	source, err := m.sourceOf(stmt, field)
	if err != nil {
		return err
	}
	if source.sequence.Valid {
		err := tx.Exec("ALTER SEQUENCE IF EXISTS ? AS ?", m.quoted(stmt, source.sequence.String), clause.Expr{SQL: serialDatabaseType}).Error
		if err != nil {
			return err
		}
	}
	return m.on(tx).alter(stmt, field, "TYPE ?", clause.Expr{SQL: serialDatabaseType})
}

// DeleteSequence changes the type of the column of field to fileType, and takes
// its sequence away.
func (m Migrator) DeleteSequence(tx *gorm.DB, stmt *gorm.Statement, field *schema.Field, fileType clause.Expr) error {
	source, err := m.sourceOf(stmt, field)
	if err != nil {
		return err
	}
	if source.identity { // it goes first: PostgreSQL keeps an identity column's type an integer
		if err := m.on(tx).alter(stmt, field, "DROP IDENTITY"); err != nil {
			return err
		}
		return m.on(tx).alter(stmt, field, "TYPE ?", fileType)
	}
	if err := m.on(tx).alter(stmt, field, "TYPE ?", fileType); err != nil {
		return err
	}
	if err := m.on(tx).alter(stmt, field, "DROP DEFAULT"); err != nil || !source.sequence.Valid {
		return err
	}
	return tx.Exec("DROP SEQUENCE IF EXISTS ?", m.quoted(stmt, source.sequence.String)).Error
}

// on returns m writing by tx.
func (m Migrator) on(tx *gorm.DB) Migrator {
	m.DB = tx
	return m
}

// source is where the numbers of an auto increment column come from.
type source struct {
	identity bool
	sequence sql.NullString // of the default value, if it is in the table's schema
}

// sourceQuery asks what the default value depends on, not for its text. A
// sequence in another schema is not the table's to change: a table made by
// CREATE TABLE LIKE uses that of the original.
const sourceQuery = `
SELECT a.attidentity <> '', s.relname
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
LEFT JOIN pg_catalog.pg_depend p ON p.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND p.objid = d.oid
	AND p.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
LEFT JOIN pg_catalog.pg_class s ON s.oid = p.refobjid AND s.relkind = 'S' AND s.relnamespace = c.relnamespace
WHERE c.` + namespace + ` AND c.relname = ? AND a.attname = ? AND a.attnum > 0
ORDER BY s.relname NULLS LAST LIMIT 1`

func (m Migrator) sourceOf(stmt *gorm.Statement, field *schema.Field) (s source, err error) {
	schema, table := m.CurrentSchema(stmt, stmt.Table)
	rows, err := m.read(sourceQuery, schema, table, field.DBName).Rows()
	if err != nil {
		return s, err
	}
	return s, one(rows, &s.identity, &s.sequence)
}

// quoted returns the name of a relation in the schema of the statement's table.
func (m Migrator) quoted(stmt *gorm.Statement, name string) clause.Expr {
	path := pgx.Identifier{name}
	schema, _ := m.CurrentSchema(stmt, stmt.Table)
	if s, ok := schema.(string); ok { // else the search_path begins with it
		path = pgx.Identifier{s, name}
	}
	return clause.Expr{SQL: path.Sanitize()}
}
