package pgcatalog

import "gorm.io/gorm"

// HasConstraint reports whether a table has a constraint, named by the field, by
// the relation or by itself.
func (m Migrator) HasConstraint(value any, name string) bool {
	return m.has(value, func(stmt *gorm.Statement) *gorm.DB {
		constraint, table := m.GuessConstraintInterfaceAndTable(stmt, name)
		if constraint != nil {
			name = constraint.GetName()
		}
		schema, relation := m.CurrentSchema(stmt, table)
		return m.read(`SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_constraint k ON k.conrelid = c.oid
			WHERE `+namespace+" AND relname = ? AND relkind IN ('r', 'p') AND conname = ? AND contype NOT IN ('t', 'x'))", schema, relation, name)
	})
}
