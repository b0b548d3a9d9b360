package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.ReleaseMode)
	os.Exit(m.Run())
}

func TestTheProgramDoesWhatThePageSays(t *testing.T) {
	dsn := pgtest.Database(t)
	tenants, err := catalog.Open(t.Context(), dsn, catalog.WithMigrations(migrations))
	if err != nil {
		t.Fatal(err)
	}
	db, err := gorm.Open(postgres.Open(dsn), &gorm.Config{})
	if err != nil {
		t.Fatal(err)
	}
	handler, err := newHandler(t.Context(), db, tenants)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if pool, err := db.DB(); err != nil || pool.Close() != nil || tenants.Close() != nil {
			t.Error("can't close")
		}
	})
	for _, c := range []struct {
		method, url string
		status      int
		body        string
	}{
		{"POST", "http://localhost:8080/signup/acme", 200, `{"subdomain":"acme"}`},
		{"POST", "http://localhost:8080/signup/globex", 200, `{"subdomain":"globex"}`},
		{"POST", "http://localhost:8080/signup/acme", 422, `{"error":"catalog: taken id \"acme\""}`},
		{"POST", "http://acme.localhost:8080/invoices?title=anvils", 200, `{"id":1,"title":"anvils"}`},
		{"GET", "http://acme.localhost:8080/invoices", 200, `[{"id":1,"title":"anvils"}]`},
		{"GET", "http://globex.localhost:8080/invoices", 200, `[]`},
		{"GET", "http://nobody.localhost:8080/invoices", 404, `{"error":"unknown tenant"}`},
		{"GET", "http://localhost:8080/invoices", 400, `{"error":"no tenant named"}`},
	} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(c.method, c.url, http.NoBody))
		if w.Code != c.status || strings.TrimSpace(w.Body.String()) != c.body {
			t.Errorf("%s %s: got %d %s, want %d %s", c.method, c.url, w.Code, w.Body, c.status, c.body)
		}
	}
}
