package catalog_test

import (
	"testing"

	"github.com/go-gormigrate/gormigrate/v2"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/catalog"
)

// TestWithoutTemplatesEachDatabaseHasItsOwnSecrets: what a migration generates is
// not shared.
func TestWithoutTemplatesEachDatabaseHasItsOwnSecrets(t *testing.T) {
	t.Parallel()
	runs := countRuns()
	runs.Migrations = append(runs.Migrations, &gormigrate.Migration{ID: "2-secret", Migrate: func(tx *gorm.DB) error {
		return tx.Exec("create table settings as select md5(random()::text || clock_timestamp()) as secret").Error
	}})
	c, db, dsn := service(t, catalog.WithMigrations(runs.Migrations), catalog.WithoutTemplates())
	pool, seen := admin(t, dsn), map[string]bool{}
	for _, kind := range []catalog.Kind{catalog.OwnDatabase, catalog.OwnDatabase, catalog.OwnSchema, catalog.OwnSchema} {
		tenant := create(t, c, catalog.New{ID: unique("secret"), Kind: kind})
		var secret string
		if err := db.WithContext(as(t, tenant.ID.String())).Raw("select secret from settings").Scan(&secret).Error; err != nil {
			t.Fatal(err)
		}
		if seen[secret] {
			t.Errorf("a tenant of kind %s has the secret of another", kind)
		}
		seen[secret] = true
	}
	runs.mustHaveRun(t, 0, 4)
	if left := templates(t, pool); len(left) > 0 {
		t.Errorf("templates are %q", left)
	}
}
