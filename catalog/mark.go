package catalog

import (
	"fmt"

	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"
)

// object is something on a server that is made for a tenant. It carries a mark, its comment
// in PostgreSQL, that says whose it is: nothing is dropped on the strength of its
// name alone.
type object struct {
	class objectClass
	name  string
}

// objectClass is the word in SQL for a class of objects.
type objectClass string

const (
	aSchema   objectClass = "schema"
	aDatabase objectClass = "database"
	aRole     objectClass = "role"
)

func (o object) String() string { return fmt.Sprintf("%s %q", o.class, o.name) }

// quoted returns the name as an identifier.
func (o object) quoted() string { return pgx.Identifier{o.name}.Sanitize() }

// find reads the mark of o, "" if it has none. Found is false if there is no such
// object.
func (o object) find(db *gorm.DB) (mark string, found bool, err error) {
	var query string
	switch o.class {
	case aSchema:
		query = "select coalesce(pg_catalog.obj_description(oid, 'pg_namespace'), '') from pg_catalog.pg_namespace where nspname = ?"
	case aDatabase:
		query = "select coalesce(pg_catalog.shobj_description(oid, 'pg_database'), '') from pg_catalog.pg_database where datname = ?"
	case aRole:
		query = "select coalesce(pg_catalog.shobj_description(oid, 'pg_authid'), '') from pg_catalog.pg_roles where rolname = ?"
	}
	var marks []string
	if err := db.Raw(query, o.name).Scan(&marks).Error; err != nil {
		return "", false, fmt.Errorf("look for %s: %w", o, err)
	}
	if len(marks) == 0 {
		return "", false, nil
	}
	return marks[0], true, nil
}

// intact reports whether the database o is there, and no drop of it was cut off:
// PostgreSQL keeps what that leaves, and lets nobody in (datconnlimit -2).
func (o object) intact(db *gorm.DB) (bool, error) {
	var limits []int
	if err := db.Raw("select datconnlimit from pg_catalog.pg_database where datname = ?", o.name).Scan(&limits).Error; err != nil {
		return false, fmt.Errorf("look for %s: %w", o, err)
	}
	return len(limits) == 1 && limits[0] != -2, nil
}

// put writes the mark. It holds nothing that would have to be quoted.
func (o object) put(db *gorm.DB, mark string) error { return run(db, o.marking(mark)) }

func (o object) marking(mark string) string {
	return fmt.Sprintf("comment on %s %s is '%s'", o.class, o.quoted(), mark)
}

// mark is the one of a tenant's objects.
func (c *Catalog) mark(row *tenantRow) string {
	if row.spare {
		return c.spareMark(row.ID)
	}
	return "tenantry " + c.identity + " tenant " + row.ID
}

// spareMark is the one of a spare's objects, which all bear its name.
func (c *Catalog) spareMark(name string) string { return "tenantry " + c.identity + " spare " + name }

// mine reports whether o is there. One that isn't marked as the tenant's is an
// error, unless it was never in use, and either never marked, because its making was cut
// off, or marked as the spare that the tenant has taken.
func (c *Catalog) mine(db *gorm.DB, row *tenantRow, o object) (found bool, err error) {
	mark, err := c.marked(db, row, o)
	return mark != missing, err
}

// missing is the mark of what is not there.
const missing = "-"

// marked returns the mark of o, which mine accepts, or missing.
func (c *Catalog) marked(db *gorm.DB, row *tenantRow, o object) (mark string, err error) {
	mark, found, err := o.find(db)
	switch {
	case err != nil || !found:
		return missing, err
	case mark == c.mark(row):
		return mark, nil
	case row.ActivatedAt == nil && (mark == "" && o.class == aDatabase || mark == c.spareMark(o.name)):
		return mark, nil
	}
	return missing, fmt.Errorf("%w: %s on server %q has the comment %q: if it is that of %q, set its comment to '%s'",
		ErrForeign, o, row.ServerName, mark, row.ID, c.mark(row))
}

// take reports whether o is there, and gives it the tenant's mark if it still has
// that of the spare that the tenant has taken.
func (c *Catalog) take(db *gorm.DB, row *tenantRow, o object) (found bool, err error) {
	mark, err := c.marked(db, row, o)
	if err != nil || mark == missing {
		return false, err
	}
	if mark != c.mark(row) {
		err = o.put(db, c.mark(row))
	}
	return true, err
}
