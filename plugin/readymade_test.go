package plugin_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
)

// useReadyMade opens GORM on pool, and registers the plugin.
func useReadyMade(t *testing.T, pool *sql.DB) (*gorm.DB, *plugin.Plugin, error) {
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
	p := plugin.New(plugin.BySchema())
	return db, p, db.Use(p)
}

// TestUseRefusesHooksOfAReadyMadePool that the plugin's connections would go without: a
// token would expire in production.
func TestUseRefusesHooksOfAReadyMadePool(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	pool := admin(t, dsn)
	options := map[string]stdlib.OptionOpenDB{
		"BeforeConnect": stdlib.OptionBeforeConnect(func(context.Context, *pgx.ConnConfig) error { return nil }),
		"AfterConnect":  stdlib.OptionAfterConnect(func(context.Context, *pgx.Conn) error { return nil }),
		"ResetSession":  stdlib.OptionResetSession(func(context.Context, *pgx.Conn) error { return nil }),
		"ShouldPing":    stdlib.OptionShouldPing(func(context.Context, stdlib.ShouldPingParams) bool { return true }),
	}
	for name, option := range options {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := useReadyMade(t, stdlib.OpenDB(*cfg, option))
			mustSay(t, err, "Option"+name, "WithPoolConfig")
		})
		t.Run(name+" on a pool", func(t *testing.T) {
			t.Parallel()
			_, _, err := useReadyMade(t, stdlib.OpenDBFromPool(pool, option))
			mustSay(t, err, "Option"+name, "WithPoolConfig")
		})
	}
	t.Run("a connector of another kind", func(t *testing.T) {
		t.Parallel()
		_, _, err := useReadyMade(t, sql.OpenDB(otherConnector{stdlib.GetConnector(*cfg)}))
		mustSay(t, err, "otherConnector", "WithPoolConfig")
	})
}

// otherConnector is what a library that dials by itself may look like.
type otherConnector struct{ driver.Connector }

// TestHooksOfAPoolRunForThePluginsConnections, as its configuration is taken over.
func TestHooksOfAPoolRunForThePluginsConnections(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	mustExec(t, admin(t, dsn), "create schema tenant_a", "create table tenant_a.invoices (id bigserial primary key, title text, cents bigint)")
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	var ran [6]atomic.Int64
	names := [6]string{"BeforeConnect", "AfterConnect", "PrepareConn", "AfterRelease", "BeforeClose", "ShouldPing"}
	cfg.BeforeConnect = func(context.Context, *pgx.ConnConfig) error { ran[0].Add(1); return nil }
	cfg.AfterConnect = func(context.Context, *pgx.Conn) error { ran[1].Add(1); return nil }
	cfg.PrepareConn = func(context.Context, *pgx.Conn) (bool, error) { ran[2].Add(1); return true, nil }
	cfg.AfterRelease = func(*pgx.Conn) bool { ran[3].Add(1); return true }
	cfg.BeforeClose = func(*pgx.Conn) { ran[4].Add(1) }
	cfg.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { ran[5].Add(1); return true }
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	db, p, err := useReadyMade(t, stdlib.OpenDBFromPool(pool))
	if err != nil {
		t.Fatal(err)
	}
	var before [6]int64 // GORM's own ping went through the pool that was given
	for i := range ran {
		before[i] = ran[i].Load()
	}
	for range 3 {
		if err := db.WithContext(as(t, "a")).Find(&[]Invoice{}).Error; err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	for i, name := range names {
		if ran[i].Load() == before[i] {
			t.Errorf("%s did not run", name)
		}
	}
}

// TestReadyMadePoolsWithoutHooksAreTakenOver.
func TestReadyMadePoolsWithoutHooksAreTakenOver(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	mustExec(t, admin(t, dsn), "create schema tenant_a", "create table tenant_a.invoices (id bigserial primary key, title text, cents bigint)")
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	byName, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	for name, pool := range map[string]*sql.DB{"OpenDB": stdlib.OpenDB(*cfg), "sql.Open": byName, "OpenDBFromPool": stdlib.OpenDBFromPool(admin(t, dsn))} {
		db, p, err := useReadyMade(t, pool)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := db.WithContext(as(t, "a")).Find(&[]Invoice{}).Error; err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := p.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
