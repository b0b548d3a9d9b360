package pgcatalog

import (
	"database/sql"
	"regexp"
	"strings"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/migrator"
)

// withColumns is the condition that a pg_class row is one whose columns
// information_schema lists.
const withColumns = "relkind IN ('r', 'p', 'v', 'f')"

// HasColumn reports whether a table or view has a column, named by the field or
// by itself.
func (m Migrator) HasColumn(value any, field string) bool {
	return m.has(value, func(stmt *gorm.Statement) *gorm.DB {
		if stmt.Schema != nil {
			if f := stmt.Schema.LookUpField(field); f != nil {
				field = f.DBName
			}
		}
		schema, table := m.CurrentSchema(stmt, stmt.Table)
		return m.read(`SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
			WHERE `+namespace+" AND relname = ? AND "+withColumns+` AND attname = ? AND attnum > 0 AND NOT attisdropped)`, schema, table, field)
	})
}

// columnsOf tells everything about the columns of a table in one round trip. The
// columns of the table itself come last, of which only the description counts:
// the join finds no row, and PostgreSQL does not look for one.
//
// The functions are those by which information_schema.columns is defined. They
// look at their arguments alone.
const columnsOf = `
SELECT a.attname,
	NOT (a.attnotnull OR t.typtype = 'd' AND t.typnotnull),
	u.typname,
	pg_catalog.format_type(a.atttypid, a.atttypmod),
	CASE WHEN u.typlen > 0 THEN 8 * u.typlen ELSE information_schema._pg_char_max_length(u.oid, s.typmod) END,
	coalesce(information_schema._pg_datetime_precision(u.oid, s.typmod), information_schema._pg_numeric_precision(u.oid, s.typmod)),
	information_schema._pg_numeric_scale(u.oid, s.typmod),
	CASE WHEN a.attgenerated = '' THEN pg_catalog.pg_get_expr(d.adbin, d.adrelid) END,
	a.attidentity <> '',
	pg_catalog.col_description(c.oid, a.attnum),
	EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'p' AND a.attnum = ANY (k.conkey)),
	EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'u' AND k.conkey = ARRAY[a.attnum]),
	raw.*
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
JOIN pg_catalog.pg_type u ON u.oid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END
CROSS JOIN LATERAL (SELECT CASE t.typtype WHEN 'd' THEN t.typtypmod ELSE a.atttypmod END AS typmod) s
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
LEFT JOIN ? ON false
WHERE c.` + namespace + " AND c.relname = ? AND c." + withColumns + ` AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum`

// ColumnTypes returns the columns of a table or view, in order. They are
// *migrator.ColumnType. A table that does not exist is PostgreSQL's error 42P01.
func (m Migrator) ColumnTypes(value any) (columns []gorm.ColumnType, err error) {
	columns = make([]gorm.ColumnType, 0)
	err = m.RunWithValue(value, func(stmt *gorm.Statement) error {
		schema, table := m.CurrentSchema(stmt, stmt.Table)
		rows, err := m.read(columnsOf, rawTable(schema, table), schema, table).Rows()
		if err != nil {
			return err
		}
		columns, err = scanColumns(rows)
		return err
	})
	return columns, err
}

// rawTable is the table as columnsOf joins it.
func rawTable(schema, table any) clause.Table {
	name, _ := table.(string)
	if s, ok := schema.(string); ok {
		name = s + "." + name
	}
	return clause.Table{Name: name, Alias: "raw"}
}

// scanColumns reads and closes rows.
func scanColumns(rows *sql.Rows) ([]gorm.ColumnType, error) {
	defer rows.Close()
	described, err := rows.ColumnTypes()
	if err != nil {
		return nil, err
	}
	columns := make([]gorm.ColumnType, 0, len(described))
	for rows.Next() {
		column, err := scanColumn(rows, described)
		if err != nil {
			return nil, err
		}
		columns = append(columns, column)
	}
	return columns, rows.Err()
}

func scanColumn(rows *sql.Rows, described []*sql.ColumnType) (*migrator.ColumnType, error) {
	column := &migrator.ColumnType{
		PrimaryKeyValue: sql.NullBool{Valid: true},
		UniqueValue:     sql.NullBool{Valid: true},
	}
	var identity bool
	dest := []any{
		&column.NameValue, &column.NullableValue, &column.DataTypeValue, &column.ColumnTypeValue,
		&column.LengthValue, &column.DecimalSizeValue, &column.ScaleValue,
		&column.DefaultValueValue, &identity, &column.CommentValue,
		&column.PrimaryKeyValue.Bool, &column.UniqueValue.Bool,
	}
	described = described[len(dest):]
	for range described {
		dest = append(dest, ignored{})
	}
	if err := rows.Scan(dest...); err != nil {
		return nil, err
	}
	column.SQLColumnType = describedAs(column.Name(), described)
	if strings.HasPrefix(column.DataTypeValue.String, "_") { // an array: _text is shown as text[]
		column.DataTypeValue = column.ColumnTypeValue
	}
	setDefault(column, identity)
	return column, nil
}

func describedAs(name string, described []*sql.ColumnType) *sql.ColumnType {
	for _, d := range described {
		if d.Name() == name {
			return d
		}
	}
	return nil
}

// ignored is a place for a value that nobody reads.
type ignored struct{}

func (ignored) Scan(any) error { return nil }

// setDefault tells an auto increment column from a default value, by the driver's
// rules.
func setDefault(column *migrator.ColumnType, identity bool) {
	value := &column.DefaultValueValue
	if identity || nextval.MatchString(value.String) {
		column.AutoIncrementValue = sql.NullBool{Bool: true, Valid: true}
		*value = sql.NullString{}
	}
	if value.Valid {
		value.String = strings.Trim(cast.ReplaceAllString(value.String, "$1"), "'")
	}
}

var (
	nextval = regexp.MustCompile(`^nextval\('"?(?:[^']|'')+seq"?'::regclass\)$`)
	cast    = regexp.MustCompile(`^(.*?)(?:::.*)?$`)
)
