package tenantry_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/tenantry/tenantry/ginmw"
	"github.com/tenantry/tenantry/httpmw"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// TestAClientThatGoesAwayCancelsItsQuery goes through all layers: a request that
// is cancelled must end the query on the server.
func TestAClientThatGoesAwayCancelsItsQuery(t *testing.T) {
	dsn := pgtest.Database(t)
	admin, err := pgxpool.New(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if _, err := admin.Exec(t.Context(), "create schema tenant_acme"); err != nil {
		t.Fatal(err)
	}
	db, err := gorm.Open(postgres.Open(dsn), &gorm.Config{Logger: logger.Discard})
	if err != nil {
		t.Fatal(err)
	}
	p := plugin.New(plugin.BySchema())
	if err := db.Use(p); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}()
	acme, err := scope.Parse("acme")
	if err != nil {
		t.Fatal(err)
	}
	tenant, err := ginmw.New(httpmw.Fixed(acme), ginmw.Header("X-Tenant"))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	r := gin.New()
	r.GET("/slow", tenant, func(c *gin.Context) {
		ended <- db.WithContext(c.Request.Context()).Exec("select pg_sleep(600)").Error
	})
	server := httptest.NewServer(r)
	defer server.Close()

	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/slow", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Tenant", "acme")
	go func() {
		if answer, err := http.DefaultClient.Do(request); err == nil {
			_ = answer.Body.Close()
			t.Errorf("the request was answered with %d", answer.StatusCode)
		}
	}()
	waitForSleepers(t, admin, 1)
	leave()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the query ended with %v, want context.Canceled", err)
	}
	waitForSleepers(t, admin, 0)
}

// waitForSleepers waits until so many statements sleep in the database.
func waitForSleepers(t *testing.T, admin *pgxpool.Pool, want int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		var n int
		err := admin.QueryRow(ctx, "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'").Scan(&n)
		if err != nil {
			t.Fatalf("waiting for %d sleeping statements: %v", want, err)
		}
		if n == want {
			return
		}
	}
}
