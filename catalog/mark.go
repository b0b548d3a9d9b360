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
func (o object) put(db *gorm.DB, mark string) error {
	return run(db, fmt.Sprintf("comment on %s %s is '%s'", o.class, o.quoted(), mark))
}

// mark is the one of a tenant's objects.
func (c *Catalog) mark(row *tenantRow) string { return "tenantry " + c.identity + " tenant " + row.ID }

// mine reports whether o is there. One that isn't marked as the tenant's is an
// error, unless it was never marked and never in use: its making was cut off.
func (c *Catalog) mine(db *gorm.DB, row *tenantRow, o object) (found bool, err error) {
	mark, found, err := o.find(db)
	if err != nil || !found {
		return false, err
	}
	if mark == c.mark(row) || mark == "" && o.class == aDatabase && row.ActivatedAt == nil {
		return true, nil
	}
	return false, fmt.Errorf("%w: %s on server %q has the comment %q: if it is tenant %q's, set its comment to '%s'",
		ErrForeign, o, row.ServerName, mark, row.ID, c.mark(row))
}
