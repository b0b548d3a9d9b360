package pgcatalog_test

import (
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"gorm.io/gorm"
	"gorm.io/gorm/migrator"
	"gorm.io/gorm/schema"
)

// TestAnswersAreTheDrivers asks both migrators everything that only reads, about
// every kind of model, table and view.
func TestAnswersAreTheDrivers(t *testing.T) {
	t.Parallel()
	driver, ours := bothSides(t, createTypes)
	for _, s := range []side{driver, ours} {
		if err := s.db.AutoMigrate(models()...); err != nil {
			t.Fatal(err)
		}
		mustExec(t, s.pool, createRest)
	}
	mustMatch(t, "the tables", driver.tables(t), ours.tables(t))
	names := namesIn(t)
	mustMatch(t, "GetTables", tablesOn(t, driver.db), tablesOn(t, ours.db))
	mustMatch(t, "GetTables of other", tablesOn(t, driver.db.Table("other.things")), tablesOn(t, ours.db.Table("other.things")))
	for name, about := range subjects() {
		t.Run(name, func(t *testing.T) {
			mustMatch(t, "answers", answers(driver.db, about, names), slices.DeleteFunc(answers(ours.db, about, names), forgottenByDriver))
		})
	}
}

// forgottenByDriver reports whether a line is of the index that a foreign key
// refers to, which the driver takes for that of a constraint.
func forgottenByDriver(line string) bool {
	return strings.HasPrefix(line, "authors idx_authors_handle[")
}

// subject is a way to say what a question is about.
type subject func(*gorm.DB) (gorm.Migrator, any)

func subjects() map[string]subject {
	all := map[string]subject{
		"another table by db.Table":    func(db *gorm.DB) (gorm.Migrator, any) { return db.Table("handmade").Migrator(), &Prize{} },
		"a schema's table by db.Table": func(db *gorm.DB) (gorm.Migrator, any) { return db.Table("other.handmade").Migrator(), &Prize{} },
		"a name below a schema's":      func(db *gorm.DB) (gorm.Migrator, any) { return db.Table("other.things").Migrator(), "handmade" },
		"a scope that gives the table": func(db *gorm.DB) (gorm.Migrator, any) { return db.Scopes(inHandmade).Migrator(), &Prize{} },
		"a session that prepares": func(db *gorm.DB) (gorm.Migrator, any) {
			return db.Session(&gorm.Session{PrepareStmt: true}).Migrator(), &Texts{}
		},
		"the join table":                 func(db *gorm.DB) (gorm.Migrator, any) { return db.Migrator(), "author_prizes" },
		"a value that is no model":       func(db *gorm.DB) (gorm.Migrator, any) { return db.Migrator(), 7 },
		"a model with conditions set up": func(db *gorm.DB) (gorm.Migrator, any) { return db.Where("id = ?", 3).Migrator(), &Book{} },
	}
	for _, m := range append(models(), &Absent{}) {
		all[fmt.Sprintf("%T", m)] = func(db *gorm.DB) (gorm.Migrator, any) { return db.Migrator(), m }
	}
	for _, name := range []string{
		"authors", "adults", "ages", "parted", "parted_one", "handmade", "afar", "empty", "other.empty", "other.handmade", "other.things",
		"things", "absent", "other.absent", "nowhere.authors", "Authors", "pg_class", "pg_catalog.pg_class",
	} {
		all["the name "+name] = func(db *gorm.DB) (gorm.Migrator, any) { return db.Migrator(), name }
	}
	return all
}

func inHandmade(db *gorm.DB) *gorm.DB { return db.Table("handmade") }

// namesIn returns names of fields, columns, indexes, constraints and relations.
func namesIn(t testing.TB) []string {
	names := []string{"absent", "", "id", "Id", "a", "b", "z", "e", "gone", "two words", "handmade_a_b_key", "handmade_c_key", "handmade_d_excl", "afar_check", "........pg.dropped.3........",
		"idx_handmade", "idx_parted", "idx_ages", "parted_pkey", "authors_pkey", "parted_one_name_idx", "ctid", "empty_name_key", "age", "count"}
	for _, m := range append(models(), &Absent{}) {
		parsed := parse(t, m)
		for _, f := range parsed.Fields {
			if parsed.Name == "Author" || parsed.Name == "Thing" || parsed.Name == "Absent" || len(names)%4 == 0 {
				names = append(names, f.Name, f.DBName)
			}
		}
		for _, i := range parsed.ParseIndexes() {
			names = append(names, i.Name)
		}
		for name := range parsed.ParseCheckConstraints() {
			names = append(names, name)
		}
		for name := range parsed.ParseUniqueConstraints() {
			names = append(names, name)
		}
		for name, r := range parsed.Relationships.Relations {
			names = append(names, name)
			if c := r.ParseConstraint(); c != nil {
				names = append(names, c.Name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func parse(t testing.TB, model any) *schema.Schema {
	t.Helper()
	parsed, err := schema.Parse(model, &sync.Map{}, schema.NamingStrategy{IdentifierMaxLength: 63})
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func tablesOn(t testing.TB, db *gorm.DB) []string {
	tables, err := db.Migrator().GetTables()
	if err != nil {
		t.Fatal(err)
	}
	return tables
}

// answers is all that a migrator says about a subject, a line for each answer.
func answers(db *gorm.DB, about subject, names []string) []string {
	m, value := about(db)
	lines := []string{fmt.Sprintf("table %t", m.HasTable(value))}
	for _, name := range names {
		lines = append(lines, fmt.Sprintf("%q column %t index %t constraint %t", name,
			m.HasColumn(value, name), m.HasIndex(value, name), m.HasConstraint(value, name)))
	}
	columns, err := m.ColumnTypes(value)
	lines = append(lines, fmt.Sprintf("columns: error %t", err != nil))
	for _, c := range columns {
		if err == nil {
			lines = append(lines, columnLine(c))
		}
	}
	indexes, err := m.GetIndexes(value)
	lines = append(lines, fmt.Sprintf("indexes: error %t", err != nil))
	for _, i := range indexes {
		lines = append(lines, indexLine(i))
	}
	return lines
}

// TestAnswersInATransaction: a migration asks there, about what it has just made.
func TestAnswersInATransaction(t *testing.T) {
	t.Parallel()
	driver, ours := bothSides(t)
	var lines [2][]string
	for i, s := range []side{driver, ours} {
		err := s.db.Transaction(func(tx *gorm.DB) error {
			about := func(db *gorm.DB) (gorm.Migrator, any) { return db.Migrator(), &Profile{} }
			if err := tx.AutoMigrate(&Profile{}); err != nil {
				return err
			}
			lines[i] = append(answers(tx, about, []string{"AuthorID", "idx_profiles_author_id"}), tablesOn(t, tx)...)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	mustMatch(t, "answers", lines[0], lines[1])
}

func columnLine(c gorm.ColumnType) string {
	full, fullOK := c.ColumnType()
	primary, primaryOK := c.PrimaryKey()
	increments, incrementsOK := c.AutoIncrement()
	length, lengthOK := c.Length()
	precision, scale, decimal := c.DecimalSize()
	nullable, nullableOK := c.Nullable()
	unique, uniqueOK := c.Unique()
	comment, commentOK := c.Comment()
	value, valueOK := c.DefaultValue()
	line := fmt.Sprint(c.Name(), " ", c.DatabaseTypeName(), " full ", full, fullOK, " primary ", primary, primaryOK, " increments ", increments, incrementsOK,
		" length ", length, lengthOK, " decimal ", precision, scale, decimal, " nullable ", nullable, nullableOK, " unique ", unique, uniqueOK,
		" comment ", comment, commentOK, " default ", value, valueOK, " scan ", c.ScanType())
	if c, ok := c.(*migrator.ColumnType); ok {
		line += rawLine(c.SQLColumnType)
	}
	return line
}

func rawLine(c *sql.ColumnType) string {
	if c == nil {
		return " no raw type"
	}
	length, lengthOK := c.Length()
	precision, scale, decimal := c.DecimalSize()
	nullable, nullableOK := c.Nullable()
	name := c.DatabaseTypeName()
	if _, err := strconv.Atoi(name); err == nil {
		name = "an OID"
	}
	return fmt.Sprint(" raw ", c.Name(), " ", name, " ", length, lengthOK, precision, scale, decimal, nullable, nullableOK, c.ScanType())
}

func indexLine(i gorm.Index) string {
	primary, primaryOK := i.PrimaryKey()
	unique, uniqueOK := i.Unique()
	columns := slices.Sorted(slices.Values(i.Columns())) // the driver has the table's order
	return fmt.Sprint(i.Table(), " ", i.Name(), columns, " primary ", primary, primaryOK, " unique ", unique, uniqueOK, i.Option())
}
