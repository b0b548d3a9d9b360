// Package pgcatalog is GORM's migrator for PostgreSQL with its questions put to
// pg_catalog, for the one schema that a table is in.
//
// It answers as the migrator of gorm.io/driver/postgres does, from the schema
// that the table's name gives or from current_schema(), in a time that does not
// grow with the number of schemas. The driver asks information_schema, which
// looks at every table of the database.
//
// # Where it differs
//
// In what the driver does wrong where there are many schemas:
//   - A column is listed once, however many schemas have a type of the name that
//     its type has, and with the length of its own type.
//   - AlterColumn changes and drops a sequence in the table's own schema only.
//     The driver takes that of any table of the same name in the database.
//   - What drops or renames leaves what a schema further back in search_path has
//     alone.
//
// In what it does wrong anywhere:
//   - The names of sequences, their tables and columns are quoted, and have the
//     schema of the table's name.
//   - AlterColumn takes the identity from a column that is one. The driver drops
//     a default that it has not, which fails.
//   - AutoMigrate in DryRun mode tells how a column would be altered, and
//     ColumnTypes answers. The driver fails: dry run mode unsupported.
//   - ColumnTypes has the SQLColumnType of a table whose name has a space.
//   - GetIndexes leaves out the index of a constraint, as meant, and not also one
//     that another table's foreign key refers to. The columns of an index are in
//     its own order, the indexes, tables and columns in one that stays the same.
//   - TableType is there.
//   - What a role may see: information_schema has no table on which the role has
//     no right, and tells primary keys and unique constraints to owners only, so
//     that AutoMigrate by another role makes them again. pg_catalog has all.
//   - A NOT NULL is no constraint for HasConstraint before PostgreSQL 18, where it
//     has got a name of its own; information_schema makes one up.
package pgcatalog
