package pgcatalog

import (
	"database/sql"

	"gorm.io/gorm"
	"gorm.io/gorm/migrator"
)

// HasIndex reports whether a table has an index, named by the field or by itself.
func (m Migrator) HasIndex(value any, name string) bool {
	return m.has(value, func(stmt *gorm.Statement) *gorm.DB {
		if stmt.Schema != nil {
			if index := stmt.Schema.LookIndex(name); index != nil {
				name = index.Name
			}
		}
		schema, table := m.CurrentSchema(stmt, stmt.Table)
		return m.read(`SELECT EXISTS (SELECT FROM pg_catalog.pg_class c
			JOIN pg_catalog.pg_index x ON x.indrelid = c.oid JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
			WHERE c.`+namespace+" AND c.relname = ? AND c.relkind IN ('r', 'p', 'm') AND i.relname = ?)", schema, table, name)
	})
}

// indexesOf lists the columns of each index of a table that no constraint of the
// table made.
const indexesOf = `
SELECT c.relname, i.relname, x.indisunique, x.indisprimary, a.attname
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_index x ON x.indrelid = c.oid
JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
CROSS JOIN LATERAL pg_catalog.unnest(x.indkey::int2[]) WITH ORDINALITY AS part (attnum, position)
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = part.attnum
WHERE c.` + namespace + ` AND c.relname = ? AND c.relkind = 'r'
	AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid AND k.conindid = i.oid AND k.contype IN ('p', 'u', 'x'))
ORDER BY i.relname, part.position`

// GetIndexes returns the indexes of a table by name, but for those that belong to
// a constraint. Columns are in the order in which the index has them;
// expressions are left out, and so are indexes that have nothing else.
func (m Migrator) GetIndexes(value any) (indexes []gorm.Index, err error) {
	indexes = make([]gorm.Index, 0)
	err = m.RunWithValue(value, func(stmt *gorm.Statement) error {
		schema, table := m.CurrentSchema(stmt, stmt.Table)
		rows, err := m.read(indexesOf, schema, table).Rows()
		if err != nil {
			return err
		}
		indexes, err = scanIndexes(rows)
		return err
	})
	return indexes, err
}

// scanIndexes reads and closes rows, of which those of one index follow each other.
func scanIndexes(rows *sql.Rows) ([]gorm.Index, error) {
	defer rows.Close()
	indexes := make([]gorm.Index, 0)
	var last *migrator.Index
	for rows.Next() {
		index := &migrator.Index{PrimaryKeyValue: sql.NullBool{Valid: true}, UniqueValue: sql.NullBool{Valid: true}}
		var column string
		if err := rows.Scan(&index.TableName, &index.NameValue, &index.UniqueValue.Bool, &index.PrimaryKeyValue.Bool, &column); err != nil {
			return nil, err
		}
		if last == nil || last.NameValue != index.NameValue {
			last = index
			indexes = append(indexes, last)
		}
		last.ColumnList = append(last.ColumnList, column)
	}
	return indexes, rows.Err()
}
