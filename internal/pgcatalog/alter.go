package pgcatalog

import (
	"fmt"
	"strings"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/migrator"
	"gorm.io/gorm/schema"
)

// MigrateColumn makes a column what the field says. It asks the database
// nothing that columnType, which ColumnTypes returns, has told.
func (m Migrator) MigrateColumn(value any, field *schema.Field, columnType gorm.ColumnType) error {
	if !field.PrimaryKey {
		if err := m.Migrator.Migrator.MigrateColumn(value, field, columnType); err != nil { // GORM's, not the driver's
			return err
		}
	}
	want := strings.Trim(strings.Trim(field.Comment, "'"), `"`)
	if have, _ := columnType.Comment(); field.Comment == "" || have == want {
		return nil
	}
	return m.RunWithValue(value, func(stmt *gorm.Statement) error {
		return m.DB.Exec("COMMENT ON COLUMN ?.? IS ?", m.CurrentTable(stmt), column(field), m.literal(field.Comment)).Error
	})
}

// AlterColumn makes the type, the sequence, NOT NULL and the default of a column
// what the field of the model says, named by the field or by the column.
func (m Migrator) AlterColumn(value any, name string) error {
	return m.RunWithValue(value, func(stmt *gorm.Statement) error {
		field, err := fieldOf(stmt, name)
		if err != nil {
			return err
		}
		have, err := m.columnOf(value, field)
		if err != nil {
			return err
		}
		if err := m.alterType(stmt, field, have); err != nil {
			return err
		}
		if err := m.alterNullable(stmt, field, have); err != nil {
			return err
		}
		return m.alterDefault(stmt, field, have)
	})
}

func fieldOf(stmt *gorm.Statement, name string) (*schema.Field, error) {
	if stmt.Schema != nil {
		if field := stmt.Schema.LookUpField(name); field != nil {
			return field, nil
		}
	}
	return nil, fmt.Errorf("tenantry: alter column: the model has no field %q", name)
}

// columnOf returns the column of field as it is.
func (m Migrator) columnOf(value any, field *schema.Field) (*migrator.ColumnType, error) {
	columns, err := m.ColumnTypes(value)
	if err != nil {
		return nil, err
	}
	for _, c := range columns {
		if c, ok := c.(*migrator.ColumnType); ok && c.Name() == field.DBName {
			return c, nil
		}
	}
	return nil, fmt.Errorf("tenantry: alter column: the table has no column %q", field.DBName)
}

func (m Migrator) alterType(stmt *gorm.Statement, field *schema.Field, have *migrator.ColumnType) error {
	want := m.DataTypeOf(field)
	if m.sameType(have.DatabaseTypeName(), want) {
		return nil
	}
	increments, _ := have.AutoIncrement()
	switch {
	case field.AutoIncrement && increments:
		if now, _ := have.ColumnType(); now == integerOf(want) {
			return nil
		}
		return m.UpdateSequence(m.DB, stmt, field, integerOf(want))
	case field.AutoIncrement:
		return m.CreateSequence(m.DB, stmt, field, integerOf(want))
	case increments:
		return m.DeleteSequence(m.DB, stmt, field, clause.Expr{SQL: want})
	}
	return m.convert(stmt, field, want, have)
}

// sameType reports whether the type named have needs no change to be want.
func (m Migrator) sameType(have, want string) bool {
	if strings.EqualFold(have, want) {
		return true
	}
	for _, alias := range m.GetTypeAliases(have) {
		if strings.HasPrefix(want, alias) {
			return true
		}
	}
	return false
}

// convert changes the type of a column and its values with it.
func (m Migrator) convert(stmt *gorm.Statement, field *schema.Field, want string, have *migrator.ColumnType) error {
	through := ""
	if want == "boolean" {
		switch have.DatabaseTypeName() {
		case "int2", "int8", "numeric": // PostgreSQL casts int4 only
			through = "int::"
		}
		if value, _ := have.DefaultValue(); value != "" { // it can't be cast
			if err := m.alter(stmt, field, "DROP DEFAULT"); err != nil {
				return err
			}
		}
	}
	t := clause.Expr{SQL: want}
	return m.alter(stmt, field, "TYPE ? USING ?::"+through+"?", t, column(field), t)
}

func (m Migrator) alterNullable(stmt *gorm.Statement, field *schema.Field, have *migrator.ColumnType) error {
	nullable, _ := have.Nullable()
	switch {
	case nullable != field.NotNull:
		return nil
	case nullable:
		return m.alter(stmt, field, "SET NOT NULL")
	}
	return m.alter(stmt, field, "DROP NOT NULL")
}

func (m Migrator) alterDefault(stmt *gorm.Statement, field *schema.Field, have *migrator.ColumnType) error {
	value, ok := have.DefaultValue()
	if value == field.DefaultValue && (field.DefaultValueInterface != nil || !ok) {
		return nil
	}
	switch {
	case !field.HasDefaultValue:
		return m.alter(stmt, field, "DROP DEFAULT")
	case field.DefaultValueInterface != nil:
		return m.alter(stmt, field, "SET DEFAULT ?", m.literal(field.DefaultValueInterface))
	case field.DefaultValue == "(-)":
		return m.alter(stmt, field, "DROP DEFAULT")
	case field.DefaultValue != "":
		return m.alter(stmt, field, "SET DEFAULT ?", clause.Expr{SQL: field.DefaultValue})
	}
	return nil
}

// alter changes the column of field by one action of ALTER COLUMN.
func (m Migrator) alter(stmt *gorm.Statement, field *schema.Field, action string, values ...any) error {
	values = append([]any{m.CurrentTable(stmt), column(field)}, values...)
	return m.DB.Exec("ALTER TABLE ? ALTER COLUMN ? "+action, values...).Error
}

func column(field *schema.Field) clause.Column { return clause.Column{Name: field.DBName} }

// literal writes value into SQL that takes no parameters.
func (m Migrator) literal(value any) clause.Expr {
	return clause.Expr{SQL: m.Explain("$1", value)}
}

// integerOf returns the integer type of a serial type, or "".
func integerOf(serial string) string {
	switch serial {
	case "smallserial":
		return "smallint"
	case "serial":
		return "integer"
	case "bigserial":
		return "bigint"
	}
	return ""
}
