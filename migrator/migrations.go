package migrator

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/go-gormigrate/gormigrate/v2"
	"gorm.io/gorm"
)

// Migrations is a list of migrations in the order in which they run: what [New]
// takes, and what makes the tables of a new tenant in a catalog.
type Migrations []*gormigrate.Migration

// Apply runs the migrations that the schema of tx does not have yet, in tx. It
// is what a Migrator does for each tenant. Errors name the migration.
func (m Migrations) Apply(tx *gorm.DB) error {
	if err := checkMigrations(m); err != nil {
		return err
	}
	_, err := m.run(tx)
	return err
}

// Fingerprint changes when ids come, go or change places.
func (m Migrations) Fingerprint() string {
	h := sha256.New()
	for _, migration := range m {
		if migration != nil {
			_, _ = h.Write([]byte(migration.ID + "\x00")) // never fails
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// run runs what is pending in the transaction tx, and returns the ids.
func (m Migrations) run(tx *gorm.DB) (applied []string, err error) {
	err = gormigrate.New(tx, &gormigrate.Options{}, recording(m, &applied)).Migrate()
	return applied, err
}
