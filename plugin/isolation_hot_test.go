package plugin_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/internal/isolation"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
)

// TestIsolationOfWhatConnectionsKeep lets connections live for long enough that they keep
// statements and are preferred by the tenants that they have served. They may keep few
// statements and serve few tenants, so that both are given up all the time; and the
// tenants' tables change meanwhile.
func TestIsolationOfWhatConnectionsKeep(t *testing.T) {
	const (
		hot    = 100
		served = 20
		some   = 50_000
	)
	dsn := pgtest.Database(t)
	pool := admin(t, dsn)
	places := isolation.Setup(t, pool, isolationTenants)
	db, p := open(t, named(dsn), nil, plugin.BySchema(), plugin.WithMaxConns(isolationConns),
		plugin.WithHotStatements(hot), plugin.WithTenantsPerConn(served))
	changes := 0
	result := isolation.Run(t, isolation.Config{
		DB: db, Places: places, Goroutines: isolationGoroutines,
		Statements: isolation.Statements(t, some), KillEvery: isolationKillEvery, Killers: []*pgxpool.Pool{pool}, AppName: isolationApp,
		Meanwhile: func(ctx context.Context) (err error) {
			for err == nil {
				changed, failed := changeTable(ctx, pool, places[rand.IntN(len(places))])
				if err = failed; changed {
					changes++
				}
			}
			return err
		},
	})
	t.Log(result, p.Stats().Base.NewConnsCount(), "connections", changes, "changed tables")
	mustBeIsolated(t, result, some)
	if changes < 100 {
		t.Errorf("only %d tables were changed", changes)
	}
}

// changeTable gives a tenant's table one more column or takes it away, changes the type of
// another, and waits a little. It gives way to the application.
func changeTable(ctx context.Context, pool *pgxpool.Pool, p isolation.Place) (changed bool, err error) {
	table := pgx.Identifier{p.Schema, "entries"}.Sanitize()
	for _, ddl := range []string{
		"add column if not exists more int default 7", "alter n type numeric",
		"drop column if exists more", "alter n type bigint",
	} {
		_, err := pool.Exec(ctx, fmt.Sprintf("set local lock_timeout = '20ms'; alter table %s %s", table, ddl), pgx.QueryExecModeSimpleProtocol)
		var pgErr *pgconn.PgError
		switch {
		case err == nil:
			changed = true
		case !errors.As(err, &pgErr) || pgErr.Code != "55P03":
			return changed, err
		}
		select {
		case <-ctx.Done():
			return changed, ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
	}
	return changed, nil
}
