package migrator

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/go-gormigrate/gormigrate/v2"
	"gorm.io/gorm"
)

// maxID is how long an id may be: the column's size in gormigrate's table.
const maxID = 255

// Migrations is a list of migrations in the order in which they run: what [New]
// takes, and what makes the tables of a new tenant in a catalog.
type Migrations []*gormigrate.Migration

// Fingerprint changes when ids come, go or change places.
func (m Migrations) Fingerprint() string { return fingerprint(m.ids()) }

func fingerprint(ids []string) string {
	h := sha256.New()
	for _, id := range ids {
		_, _ = h.Write([]byte(id + "\x00")) // never fails
	}
	return hex.EncodeToString(h.Sum(nil))
}

// ids returns the ids in order.
func (m Migrations) ids() []string {
	ids := make([]string, 0, len(m))
	for _, migration := range m {
		if migration != nil {
			ids = append(ids, migration.ID)
		}
	}
	return ids
}

// upTo returns the migrations up to the one with the given id; all for "".
func (m Migrations) upTo(id string) (Migrations, error) {
	if id == "" {
		return m, nil
	}
	n := slices.Index(m.ids(), id)
	if n < 0 {
		return nil, fmt.Errorf("migrator: there is no migration %q in the list", id)
	}
	return m[:n+1], nil
}

// without returns the migrations that are not in applied, which is sorted: it is asked
// for each tenant, and the lists may be long.
func (m Migrations) without(applied []string) Migrations {
	var rest Migrations
	for _, migration := range m {
		if _, found := slices.BinarySearch(applied, migration.ID); !found {
			rest = append(rest, migration)
		}
	}
	return rest
}

// unknown returns the ids of applied, which is sorted, that the list does not have.
func (m Migrations) unknown(applied []string) []string {
	if len(m)-len(m.without(applied)) == len(applied) {
		return nil // as a rule
	}
	known := m.ids()
	var ids []string
	for _, id := range applied {
		if id != initSchemaID && !slices.Contains(known, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// last returns which of the applied migrations, which are sorted, comes last in the list.
func (m Migrations) last(applied []string) string {
	for i := len(m) - 1; i >= 0; i-- {
		if _, found := slices.BinarySearch(applied, m[i].ID); found {
			return m[i].ID
		}
	}
	return ""
}

// initSchemaID is what gormigrate records when InitSchema made the tables.
const initSchemaID = "SCHEMA_INIT"

// step is one migration to be applied, or undone.
type step struct {
	migration *gormigrate.Migration
	back      bool
	took      time.Duration // when it is done
}

// run calls the migration's function with db, which is a transaction unless the
// migration can't run in one.
func (s step) run(db *gorm.DB) error {
	f := (func(*gorm.DB) error)(s.migration.Migrate)
	if s.back {
		f = s.migration.Rollback
	}
	return s.describe(f(db))
}

// describe makes err, unless it is nil, an error of the migration.
func (s step) describe(err error) error {
	if err == nil {
		return nil
	}
	return &migrationError{id: s.migration.ID, back: s.back, err: err}
}

// migrationError says in which migration err happened.
type migrationError struct {
	id   string
	back bool
	err  error
}

func (e *migrationError) Error() string {
	if e.back {
		return fmt.Sprintf("roll back migration %q: %v", e.id, e.err)
	}
	return fmt.Sprintf("migration %q: %v", e.id, e.err)
}

func (e *migrationError) Unwrap() error { return e.err }
