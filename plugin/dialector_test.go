package plugin_test

import (
	"errors"
	"testing"

	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/tenantry/tenantry/internal/pgcatalog"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// TestMigratorKeepsToTheTenantsSchema in every kind of session, whatever GORM was
// opened with.
func TestMigratorKeepsToTheTenantsSchema(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	mustExec(t, admin(t, dsn), "create schema tenant_a", "create schema tenant_b",
		"create table tenant_a.notes (id bigserial primary key, text text, data bytea)", "create table public.notes (id int)")
	configs := map[string]*gorm.Config{"plain": {}, "prepared": {PrepareStmt: true}, "dry": {DryRun: true}}
	for name, cfg := range configs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, _ := open(t, dsn, cfg, plugin.BySchema())
			sessions := map[string]func(*gorm.DB) *gorm.DB{
				"db":           func(db *gorm.DB) *gorm.DB { return db },
				"a session":    func(db *gorm.DB) *gorm.DB { return db.Session(&gorm.Session{NewDB: true}) },
				"a prepared":   func(db *gorm.DB) *gorm.DB { return db.Session(&gorm.Session{PrepareStmt: true}) },
				"a dry run":    func(db *gorm.DB) *gorm.DB { return db.Session(&gorm.Session{DryRun: true}) },
				"a debug one":  func(db *gorm.DB) *gorm.DB { return db.Debug() },
				"a with model": func(db *gorm.DB) *gorm.DB { return db.Model(&Note{}) },
			}
			for kind, session := range sessions {
				a, b := session(db.WithContext(as(t, "a"))).Migrator(), session(db.WithContext(as(t, "b"))).Migrator()
				if _, ok := a.(pgcatalog.Migrator); !ok {
					t.Errorf("%s: the migrator is %T", kind, a)
				}
				if !a.HasTable(&Note{}) || b.HasTable(&Note{}) {
					t.Errorf("%s: a has the table %t, b %t", kind, a.HasTable(&Note{}), b.HasTable(&Note{}))
				}
				if columns, err := a.ColumnTypes(&Note{}); err != nil || len(columns) != 3 {
					t.Errorf("%s: a has %d columns, error %v", kind, len(columns), err)
				}
			}
			if db.WithContext(t.Context()).Migrator().HasTable(&Note{}) {
				t.Error("there is a table without a tenant")
			}
			_, err := db.WithContext(t.Context()).Migrator().GetTables()
			mustBe(t, err, scope.ErrNone)
		})
	}
}

// TestMigratorSeesItsTransaction: what it has made, and nobody else has.
func TestMigratorSeesItsTransaction(t *testing.T) {
	t.Parallel()
	db, _, _ := twoTenants(t, nil)
	undo := errors.New("undo")
	err := db.WithContext(as(t, "a")).Transaction(func(tx *gorm.DB) error {
		if err := tx.AutoMigrate(&Note{}); err != nil {
			return err
		}
		if !tx.Migrator().HasTable(&Note{}) || db.WithContext(as(t, "a")).Migrator().HasTable(&Note{}) {
			t.Error("the table is not the transaction's")
		}
		return undo
	})
	mustBe(t, err, undo)
}

// TestTheDialectorKeepsItsOtherInterfaces: GORM looks for them at run time.
func TestTheDialectorKeepsItsOtherInterfaces(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	mustExec(t, admin(t, dsn), "create schema tenant_a")
	pointer := postgres.Open(dsn)
	for name, original := range map[string]gorm.Dialector{"pointer": pointer, "value": *pointer.(*postgres.Dialector)} {
		db, err := gorm.Open(original, &gorm.Config{TranslateError: true, Logger: logger.Discard})
		if err != nil {
			t.Fatal(err)
		}
		p := plugin.New(plugin.BySchema())
		if err := db.Use(p); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Close() })
		if db.Name() != "postgres" {
			t.Errorf("%s: the dialect is %q", name, db.Name())
		}
		a := db.WithContext(as(t, "a"))
		if err := a.AutoMigrate(&Note{}); err != nil {
			t.Fatal(err)
		}
		err = a.Transaction(func(tx *gorm.DB) error {
			first := tx.Create(&Note{ID: 1, Text: name}).Error
			inner := tx.Transaction(func(tx *gorm.DB) error { return tx.Create(&Note{ID: 1}).Error }) // a savepoint
			mustBe(t, inner, gorm.ErrDuplicatedKey)
			var n int64
			return errors.Join(first, tx.Model(&Note{}).Count(&n).Error, tx.Delete(&Note{}, 1).Error)
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := a.ToSQL(func(tx *gorm.DB) *gorm.DB { return tx.Find(&Note{}, "text = ?", "it's") }); got != `SELECT * FROM "notes" WHERE text = 'it''s'` {
			t.Errorf("%s: the text is %s", name, got)
		}
	}
}
