package tenantry_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/ginmw"
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

var migrations = migrator.Migrations{{
	ID:      "0001_invoices",
	Migrate: func(tx *gorm.DB) error { return tx.AutoMigrate(&Invoice{}) },
}}

func newService(ctx context.Context, db *gorm.DB, tenants *catalog.Catalog) (http.Handler, error) {
	// 1. Every statement of db now goes to the tenant of its context.
	if err := db.Use(plugin.New(tenants.Strategy())); err != nil {
		return nil, err
	}

	// 2. Finish what a crash interrupted, and give all tenants the same tables, wherever
	// they live.
	if err := tenants.Repair(ctx); err != nil {
		return nil, err
	}
	if _, err := migrator.New(db, tenants, migrations).Run(ctx); err != nil {
		return nil, err
	}

	// 3. A customer signs up, and is served from the next request on.
	r := gin.Default()
	r.POST("/signup", func(c *gin.Context) {
		ctx := context.WithoutCancel(c.Request.Context()) // a client that disconnects is signed up nevertheless
		_, err := tenants.Create(ctx, catalog.New{ID: c.PostForm("subdomain")})
		var refused *catalog.InputError
		switch {
		case errors.As(err, &refused):
			c.String(http.StatusUnprocessableEntity, refused.Error())
		case err != nil:
			_ = c.AbortWithError(http.StatusInternalServerError, err)
		default:
			c.Status(http.StatusCreated)
		}
	})

	// 4. acme.myservice.com is the tenant acme.
	tenant, err := ginmw.New(tenants, ginmw.Subdomain("myservice.com"))
	if err != nil {
		return nil, err
	}

	// 5. From here on it is ordinary GORM.
	r.GET("/invoices", tenant, func(c *gin.Context) {
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

// README: begin

func useFixed(ctx context.Context, db *gorm.DB, tenants ...scope.Tenant) error {
	if err := db.Use(plugin.New(plugin.BySchema())); err != nil {
		return err
	}
	_, err := migrator.New(db, migrator.List(tenants), migrations).Run(ctx)
	return err
}

// README: end

func TestMain(m *testing.M) {
	gin.SetMode(gin.ReleaseMode)
	os.Exit(m.Run())
}

// openAt opens dsn with GORM, to be closed with the test.
func openAt(t *testing.T, dsn string) *gorm.DB {
	t.Helper()
	db, err := gorm.Open(postgres.Open(dsn), &gorm.Config{Logger: logger.Discard})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if pool, err := db.DB(); err != nil || pool.Close() != nil {
			t.Error("can't close the pool")
		}
	})
	return db
}

func send(service http.Handler, method, host, path string, form url.Values) string {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, "http://"+host+path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	service.ServeHTTP(w, r)
	return fmt.Sprintf("%d %s", w.Code, w.Body)
}

func TestTheProgramOfTheREADME(t *testing.T) {
	dsn := pgtest.Database(t)
	tenants, err := catalog.Open(t.Context(), dsn, catalog.WithMigrations(migrations))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tenants.Close(); err != nil {
			t.Error(err)
		}
	})
	db := openAt(t, dsn)
	service, err := newService(t.Context(), db, tenants)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ subdomain, want string }{{"acme", "201 "}, {"globex", "201 "}, {"acme", `422 catalog: taken id "acme"`}, {"www", `422 catalog: reserved id "www"`}} {
		if got := send(service, http.MethodPost, "www.myservice.com", "/signup", url.Values{"subdomain": {c.subdomain}}); got != c.want {
			t.Errorf("signing %s up: got %q, want %q", c.subdomain, got, c.want)
		}
	}
	acme, err := scope.Parse("acme")
	if err != nil {
		t.Fatal(err)
	}
	if err := db.WithContext(scope.With(t.Context(), acme)).Create(&Invoice{Title: "anvils"}).Error; err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{
		"acme.myservice.com":   `200 [{"ID":1,"Title":"anvils"}]`,
		"globex.myservice.com": "200 []",
		"nobody.myservice.com": "404 ",
		"myservice.com":        "400 ",
	} {
		if got := send(service, http.MethodGet, host, "/invoices", nil); !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %q, want %q", host, got, want)
		}
	}
	if err := db.Find(&[]Invoice{}).Error; !errors.Is(err, scope.ErrNone) {
		t.Errorf("without a tenant: %v", err)
	}
}

func TestAFixedListOfTenants(t *testing.T) {
	db := openAt(t, pgtest.Database(t))
	acme, err := scope.Parse("acme")
	if err != nil {
		t.Fatal(err)
	}
	if err := useFixed(t.Context(), db, acme); err != nil {
		t.Fatal(err)
	}
	if err := db.WithContext(scope.With(t.Context(), acme)).Create(&Invoice{Title: "anvils"}).Error; err != nil {
		t.Error(err)
	}
}

// TestTheREADMEShowsThesePrograms keeps the two from drifting apart.
func TestTheREADMEShowsThesePrograms(t *testing.T) {
	source, err := os.ReadFile("readme_test.go")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	programs := strings.Split(string(source), "// README: begin\n\n")[1:]
	if len(programs) != 2 {
		t.Fatalf("found %d programs between the markers", len(programs))
	}
	for _, rest := range programs {
		program, _, _ := strings.Cut(rest, "// README: end\n")
		if !strings.Contains(string(readme), "```go\n"+strings.TrimSpace(program)+"\n```") {
			t.Errorf("README.md does not show the program between the markers of this file:\n%s", program)
		}
	}
}
