package plugin_test

import (
	"context"
	"database/sql"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
)

// longestClose is how long closing may take: three seconds for the base pool, three for the strategy's
// pools, and a second each for those who are cut off.
const longestClose = 12 * time.Second

// forgotten are things that take a connection, and whose end nobody waits for. Each returns what its
// holder does next.
var forgotten = map[string]func(ctx context.Context, db *sql.DB) (next func() error, err error){
	"rows": func(ctx context.Context, db *sql.DB) (func() error, error) {
		rows, err := db.QueryContext(ctx, "select generate_series(1, 10000000)")
		return func() error {
			for rows.Next() {
			}
			return rows.Err()
		}, err
	},
	"transaction": func(ctx context.Context, db *sql.DB) (func() error, error) {
		tx, err := db.BeginTx(ctx, nil)
		if err == nil {
			_, err = tx.ExecContext(ctx, "select 1")
		}
		return func() error { return tx.Commit() }, err
	},
	"connection": func(ctx context.Context, db *sql.DB) (func() error, error) {
		c, err := db.Conn(ctx)
		if err == nil {
			_, err = c.ExecContext(ctx, "select 1")
		}
		return func() error {
			_, err := c.ExecContext(ctx, "select 1")
			return errors.Join(err, c.Close())
		}, err
	},
	"transaction at work": func(ctx context.Context, db *sql.DB) (func() error, error) {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return nil, err
		}
		if _, err := tx.ExecContext(ctx, "select 1"); err != nil {
			return nil, err
		}
		ended := make(chan error, 1)
		go func() {
			var err error
			for err == nil { // knows nothing of Close
				_, err = tx.ExecContext(ctx, "select 1")
			}
			_ = tx.Rollback()
			ended <- err
		}()
		return func() error { return <-ended }, nil
	},
	"statement at work": func(ctx context.Context, db *sql.DB) (func() error, error) {
		ended := make(chan error, 1)
		go func() {
			_, err := db.ExecContext(ctx, "select pg_sleep(600)")
			ended <- err
		}()
		return func() error { return <-ended }, nil
	},
}

// TestCloseEnds although somebody has a connection, and leaves no connection and no goroutine. It can't be
// parallel: it counts goroutines.
func TestCloseEnds(t *testing.T) {
	opens := map[string]func(t *testing.T) (*gorm.DB, *plugin.Plugin){
		"base pool": func(t *testing.T) (*gorm.DB, *plugin.Plugin) {
			dsn := pgtest.Database(t)
			pool := admin(t, dsn)
			mustExec(t, pool, "create schema tenant_a")
			pool.Close()
			return open(t, dsn, nil, plugin.BySchema(), plugin.WithMaxConns(8))
		},
		"database pools": func(t *testing.T) (*gorm.DB, *plugin.Plugin) {
			return twoDatabases(t, nil, plugin.WithConnsPerDatabase(8))
		},
	}
	closes := map[string]func(*sql.DB, *plugin.Plugin) error{
		"DB.Close":     func(db *sql.DB, _ *plugin.Plugin) error { return db.Close() },
		"Plugin.Close": func(_ *sql.DB, p *plugin.Plugin) error { return p.Close() },
	}
	for place, open := range opens {
		for way, end := range closes {
			t.Run(place+", "+way, func(t *testing.T) {
				gdb, p := open(t)
				db, err := gdb.DB()
				if err != nil {
					t.Fatal(err)
				}
				ctx := as(t, "a")
				var name string
				if err := gdb.WithContext(ctx).Raw("select current_database()").Scan(&name).Error; err != nil {
					t.Fatal(err)
				}
				watch := admin(t, pgtest.Database(t))
				sessions := func() (n int) {
					if err := watch.QueryRow(context.Background(), "select count(*) from pg_stat_activity where datname = $1 and pid <> pg_backend_pid()", name).Scan(&n); err != nil {
						t.Fatal(err)
					}
					return n
				}
				next := map[string]func() error{}
				for what, begin := range forgotten {
					if next[what], err = begin(ctx, db); err != nil {
						t.Fatalf("%s: %v", what, err)
					}
				}
				eventually(t, "all have a connection", func() bool { return sessions() >= len(forgotten) })
				start := time.Now()
				mustSay(t, end(db, p), "has not closed rows")
				if took := time.Since(start); took > longestClose {
					t.Errorf("it took %v", took)
				}
				eventually(t, "no session is left", func() bool { return sessions() == 0 })
				for what, next := range next {
					if next() == nil {
						t.Errorf("%s: goes on after Close, without an error", what)
					}
				}
				watch.Close()
				eventually(t, "no goroutine is left", func() bool {
					return !strings.Contains(stacks(), "pgxpool") && !strings.Contains(stacks(), "internal/driver")
				})
			})
		}
	}
}

// stacks returns what all goroutines do.
func stacks() string {
	b := make([]byte, 1<<20)
	return string(b[:runtime.Stack(b, true)])
}
