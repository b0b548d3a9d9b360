package tenantry_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/go-gormigrate/gormigrate/v2"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/tenantry/tenantry/ginmw"
	"github.com/tenantry/tenantry/httpmw"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// README: begin

type Invoice struct {
	ID    uint
	Title string
}

func newService(ctx context.Context, db *gorm.DB, tenants ...scope.Tenant) (http.Handler, error) {
	// 1. Every statement of db now goes to the tenant of its context.
	if err := db.Use(plugin.New(plugin.BySchema())); err != nil {
		return nil, err
	}

	// 2. Every tenant gets its schema, and all of them the same version.
	migrations := []*gormigrate.Migration{{
		ID:      "0001_invoices",
		Migrate: func(tx *gorm.DB) error { return tx.AutoMigrate(&Invoice{}) },
	}}
	if _, err := migrator.New(db, migrator.List(tenants), migrations).Run(ctx); err != nil {
		return nil, err
	}

	// 3. acme.myservice.com is the tenant acme.
	tenant, err := ginmw.New(httpmw.Fixed(tenants...), ginmw.Subdomain("myservice.com"))
	if err != nil {
		return nil, err
	}
	r := gin.New()
	r.Use(tenant)

	// 4. From here on: ordinary GORM.
	r.GET("/invoices", func(c *gin.Context) {
		var invoices []Invoice
		if err := db.WithContext(c.Request.Context()).Find(&invoices).Error; err != nil {
			_ = c.AbortWithError(http.StatusInternalServerError, err)
			return
		}
		c.JSON(http.StatusOK, invoices)
	})
	return r, nil
}

// README: end

func TestMain(m *testing.M) {
	gin.SetMode(gin.ReleaseMode)
	os.Exit(m.Run())
}

func TestTheProgramOfTheREADME(t *testing.T) {
	db, err := gorm.Open(postgres.Open(pgtest.Database(t)), &gorm.Config{Logger: logger.New(log.Default(), logger.Config{LogLevel: logger.Silent})})
	if err != nil {
		t.Fatal(err)
	}
	var tenants []scope.Tenant
	for _, id := range []string{"acme", "globex"} {
		tenant, err := scope.Parse(id)
		if err != nil {
			t.Fatal(err)
		}
		tenants = append(tenants, tenant)
	}
	service, err := newService(t.Context(), db, tenants...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if pool, err := db.DB(); err != nil || pool.Close() != nil {
			t.Error("can't close the pool")
		}
	})
	if err := db.WithContext(scope.With(t.Context(), tenants[0])).Create(&Invoice{Title: "anvils"}).Error; err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{
		"acme.myservice.com":   `200 [{"ID":1,"Title":"anvils"}]`,
		"globex.myservice.com": "200 []",
		"nobody.myservice.com": "404 ",
		"myservice.com":        "400 ",
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "http://"+host+"/invoices", nil)
		service.ServeHTTP(w, r)
		if got := fmt.Sprintf("%d %s", w.Code, w.Body); !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %q, want %q", host, got, want)
		}
	}
	if err := db.Find(&[]Invoice{}).Error; !errors.Is(err, scope.ErrNone) {
		t.Errorf("without a tenant: %v", err)
	}
}

// TestTheREADMEShowsThatProgram keeps the two from drifting apart.
func TestTheREADMEShowsThatProgram(t *testing.T) {
	source, err := os.ReadFile("readme_test.go")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, program, _ := strings.Cut(string(source), "// README: begin\n")
	program, _, _ = strings.Cut(program, "// README: end\n")
	if !strings.Contains(string(readme), "```go\n"+strings.TrimSpace(program)+"\n```") {
		t.Error("README.md does not show the program between the markers of this file")
	}
}
