package pgcatalog

import (
	"database/sql"

	"gorm.io/gorm"
	"gorm.io/gorm/migrator"
)

// baseTable is the condition that a pg_class row is what information_schema
// calls a base table.
const baseTable = "relkind IN ('r', 'p')"

// HasTable reports whether there is a table, which a view is not.
func (m Migrator) HasTable(value any) bool {
	return m.has(value, func(stmt *gorm.Statement) *gorm.DB {
		schema, table := m.CurrentSchema(stmt, stmt.Table)
		return m.read("SELECT EXISTS (SELECT FROM pg_catalog.pg_class WHERE "+namespace+" AND relname = ? AND "+baseTable+")", schema, table)
	})
}

// DropTable drops tables, and what depends on them, where they are there. One that
// only a schema further back in search_path has is another's, and stays.
func (m Migrator) DropTable(values ...any) error {
	var there []any
	for _, value := range values {
		found, err := m.owns(value)
		if err != nil {
			return err
		}
		if found {
			there = append(there, value)
		}
	}
	return m.Migrator.DropTable(there...)
}

// GetTables returns the names of the tables, in order.
func (m Migrator) GetTables() (tables []string, err error) {
	schema, _ := m.CurrentSchema(m.DB.Statement, "")
	return tables, m.read("SELECT relname FROM pg_catalog.pg_class WHERE "+namespace+" AND "+baseTable+" ORDER BY relname", schema).Scan(&tables).Error
}

// typeOf is information_schema's table_type, which leaves out materialized views.
const typeOf = `
SELECT n.nspname, c.relname,
	CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'f' THEN 'FOREIGN' ELSE 'BASE TABLE' END,
	pg_catalog.obj_description(c.oid, 'pg_class')
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ? AND c.relname = ? AND c.relkind IN ('r', 'p', 'v', 'm', 'f')`

// TableType returns the schema, name, type and comment of a table or view, or
// sql.ErrNoRows. The type is BASE TABLE, VIEW, MATERIALIZED VIEW or FOREIGN.
func (m Migrator) TableType(value any) (gorm.TableType, error) {
	var t migrator.TableType
	err := m.RunWithValue(value, func(stmt *gorm.Statement) error {
		schema, table := m.CurrentSchema(stmt, stmt.Table)
		rows, err := m.read(typeOf, schema, table).Rows()
		if err != nil {
			return err
		}
		return one(rows, &t.SchemaValue, &t.NameValue, &t.TypeValue, &t.CommentValue)
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

// one scans the one row that there may be.
func one(rows *sql.Rows, dest ...any) error {
	defer rows.Close()
	if rows.Next() {
		return rows.Scan(dest...)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return sql.ErrNoRows
}
