package plugin_test

import (
	"context"
	"database/sql"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/tenantry/tenantry/internal/isolation"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

const (
	isolationTenants    = 50
	isolationGoroutines = 64
	isolationConns      = 8
	isolationStatements = 200_000 // unless the environment says otherwise
	isolationLifetime   = 100 * time.Millisecond
	isolationKillEvery  = 100 * time.Millisecond
	isolationApp        = "under_test"
)

// named returns dsn with an application_name, by which the test finds the
// backends to kill.
func named(dsn string) string {
	separator := "?"
	if strings.Contains(dsn, "?") {
		separator = "&"
	}
	return dsn + separator + "application_name=" + url.QueryEscape(isolationApp)
}

// shortLived lets connections live for milliseconds: without that, and without
// more goroutines than connections, designs that leak pass such a test.
func shortLived(c *pgxpool.Config) error {
	c.MaxConnLifetime = isolationLifetime
	return nil
}

func TestIsolation(t *testing.T) {
	dsn := pgtest.Database(t)
	pool := admin(t, dsn)
	places := isolation.Setup(t, pool, isolationTenants)
	db, p := open(t, named(dsn), nil, plugin.BySchema(), plugin.WithMaxConns(isolationConns), plugin.WithPoolConfig(shortLived))
	result := isolation.Run(t, isolation.Config{
		DB: db, Places: places, Goroutines: isolationGoroutines,
		Statements: isolation.Statements(t, isolationStatements), KillEvery: isolationKillEvery, Killers: []*pgxpool.Pool{pool}, AppName: isolationApp,
	})
	t.Log(result, p.Stats().Base.NewConnsCount(), "connections")
	mustBeIsolated(t, result, isolation.Statements(t, isolationStatements))
	if opened := p.Stats().Base.NewConnsCount(); opened < result.Statements/100 {
		t.Errorf("only %d connections were opened: they lived too long to prove anything", opened)
	}
	if sent := int64(p.Stats().Statements); sent < isolation.Statements(t, isolationStatements) {
		t.Errorf("%d statements were sent, want %d", sent, isolation.Statements(t, isolationStatements))
	}
}

func mustBeIsolated(t *testing.T, r isolation.Result, least int64) {
	t.Helper()
	for i, leak := range r.Leaks {
		if i < 20 {
			t.Errorf("leak: %s", leak)
		}
	}
	for i, err := range r.Errors {
		if i < 20 {
			t.Errorf("error: %s", err)
		}
	}
	if r.Statements < least {
		t.Errorf("%d statements, want %d", r.Statements, least)
	}
	if wrong := min(least/1000, 100); r.Kills < wrong || r.Ended < wrong || r.Killed == 0 {
		t.Errorf("too little went wrong on purpose: %s", r)
	}
	if r.Killed > r.Kills {
		t.Errorf("more operations failed than backends were killed: %s", r)
	}
}

// TestIsolationCatchesANaivePool runs the same over what is usually written by
// hand: search_path is set when a connection is checked out.
func TestIsolationCatchesANaivePool(t *testing.T) {
	dsn := pgtest.Database(t)
	pool := admin(t, dsn)
	places := isolation.Setup(t, pool, isolationTenants)
	result := isolation.Run(t, isolation.Config{
		DB: naive(t, named(dsn)), Places: places, Goroutines: isolationGoroutines,
		Statements: 20_000, KillEvery: isolationKillEvery, Killers: []*pgxpool.Pool{pool}, AppName: isolationApp,
	})
	t.Log(result)
	if len(result.Leaks) == 0 {
		t.Error("the test has not seen the leaks of a pool that is known to leak")
	}
}

// naive returns a database that sets search_path on checkout.
func naive(t *testing.T, dsn string) *gorm.DB {
	t.Helper()
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	set := func(ctx context.Context, c *pgx.Conn) error {
		tenant, err := scope.From(ctx)
		if err == nil { // or else a missing tenant silently means the shared tables
			_, err = c.Exec(ctx, setSchema(tenant))
			return err
		}
		return nil
	}
	lent := stdlib.OpenDB(*cfg, stdlib.OptionAfterConnect(set), stdlib.OptionResetSession(set))
	lent.SetMaxOpenConns(isolationConns)
	lent.SetConnMaxLifetime(isolationLifetime)
	return lend(t, lent)
}

// setSchema returns what sends a whole session to the tenant's schema.
func setSchema(t scope.Tenant) string { return "set search_path = tenant_" + t.String() }

func lend(t *testing.T, pool *sql.DB) *gorm.DB {
	t.Helper()
	t.Cleanup(func() {
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	})
	db, err := gorm.Open(postgres.New(postgres.Config{Conn: pool}), &gorm.Config{Logger: logger.Discard})
	if err != nil {
		t.Fatal(err)
	}
	return db
}
