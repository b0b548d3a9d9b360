package pgcatalog

import (
	"fmt"

	"gorm.io/gorm"
)

// owns reports whether a relation, such as a table, a view or an index, is in the
// schema that CurrentSchema returns for its name.
func (m Migrator) owns(value any) (found bool, err error) {
	err = m.RunWithValue(value, func(stmt *gorm.Statement) error {
		namespaceName, name := m.CurrentSchema(stmt, stmt.Table)
		return m.read("SELECT EXISTS (SELECT FROM pg_catalog.pg_class WHERE "+namespace+" AND relname = ?)", namespaceName, name).Scan(&found).Error
	})
	return found, err
}

// onOwn calls change if the table is in the schema: PostgreSQL would take one of the
// name from a schema further back in search_path.
func (m Migrator) onOwn(value any, change func() error) error {
	found, err := m.owns(value)
	if err == nil && !found {
		err = fmt.Errorf("pgcatalog: %s is not in the schema, and nothing was changed", nameOf(m, value))
	}
	if err != nil {
		return err
	}
	return change()
}

func nameOf(m Migrator, value any) (name string) {
	_ = m.RunWithValue(value, func(stmt *gorm.Statement) error { // onOwn has parsed it
		name = fmt.Sprintf("%q", stmt.Table)
		return nil
	})
	return name
}

// DropColumn drops a column of a table of the schema.
func (m Migrator) DropColumn(value any, name string) error {
	return m.onOwn(value, func() error { return m.Migrator.DropColumn(value, name) })
}

// RenameColumn renames a column of a table of the schema.
func (m Migrator) RenameColumn(value any, oldName, name string) error {
	return m.onOwn(value, func() error { return m.Migrator.RenameColumn(value, oldName, name) })
}

// DropConstraint drops a constraint of a table of the schema.
func (m Migrator) DropConstraint(value any, name string) error {
	return m.onOwn(value, func() error { return m.Migrator.DropConstraint(value, name) })
}

// DropIndex drops an index of the schema.
func (m Migrator) DropIndex(value any, name string) error {
	return m.onIndex(value, name, func() error { return m.Migrator.DropIndex(value, name) })
}

// RenameIndex renames an index of the schema.
func (m Migrator) RenameIndex(value any, oldName, newName string) error {
	return m.onIndex(value, oldName, func() error { return m.Migrator.RenameIndex(value, oldName, newName) })
}

// onIndex calls change if the table has the index.
func (m Migrator) onIndex(value any, name string, change func() error) error {
	return m.onOwn(value, func() error {
		if !m.HasIndex(value, name) {
			return fmt.Errorf("pgcatalog: table %s has no index %q, and nothing was changed", nameOf(m, value), name)
		}
		return change()
	})
}

// RenameTable renames a table of the schema.
func (m Migrator) RenameTable(oldName, newName any) error {
	return m.onOwn(oldName, func() error { return m.Migrator.RenameTable(oldName, newName) })
}

// DropView drops a view of the schema if it is there.
func (m Migrator) DropView(name string) error {
	found, err := m.owns(name)
	if err != nil || !found {
		return err
	}
	return m.Migrator.DropView(name)
}
