package tenanttest_test

import (
	"errors"
	"log"
	"os"
	"testing"

	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
	"github.com/tenantry/tenantry/tenanttest"
)

// In TestMain, with a place to close what was opened. The variables are the package's.
func ExampleNew() {
	var db *gorm.DB
	var tenants *tenanttest.Factory

	testMain := func(m *testing.M) {
		p := plugin.New(plugin.BySchema())
		var err error
		if db, err = gorm.Open(postgres.Open(os.Getenv("TEST_DSN")), &gorm.Config{}); err != nil {
			log.Fatal(err)
		}
		if err = db.Use(p); err != nil {
			log.Fatal(err)
		}
		if tenants, err = tenanttest.New(db, migrations()); err != nil {
			log.Fatal(err)
		}
		code := m.Run()
		if err := errors.Join(tenants.Close(), p.Close()); err != nil {
			log.Fatal(err)
		}
		os.Exit(code)
	}

	_ = testMain // func TestMain(m *testing.M)
}

// What a test of an application should always check, too: that another tenant sees
// nothing of what it has done, and that nothing happens without a tenant.
func ExampleFactory_Tenant() {
	var db *gorm.DB
	var tenants *tenanttest.Factory
	type Invoice struct{ Title string }

	testInvoices := func(t *testing.T) {
		t.Parallel()
		ctx := tenants.Tenant(t)
		if err := db.WithContext(ctx).Create(&Invoice{Title: "March"}).Error; err != nil {
			t.Fatal(err)
		}

		var invoices []Invoice
		if err := db.WithContext(tenants.Tenant(t)).Find(&invoices).Error; err != nil || len(invoices) > 0 {
			t.Errorf("another tenant sees %v, error %v", invoices, err)
		}
		if err := db.WithContext(t.Context()).Find(&invoices).Error; !errors.Is(err, scope.ErrNone) {
			t.Errorf("without a tenant: error %v, want scope.ErrNone", err)
		}
	}

	_ = testInvoices // func TestInvoices(t *testing.T)
}
