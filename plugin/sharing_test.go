package plugin_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/driver"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// fleet returns n tenants of a database, t0 and so on, without tables.
func fleet(t testing.TB, n int, opts ...plugin.Option) (*plugin.Plugin, []*gorm.DB) {
	t.Helper()
	dsn := pgtest.Database(t)
	pool := admin(t, dsn)
	db, p := open(t, dsn, nil, plugin.BySchema(), opts...)
	tenants := make([]*gorm.DB, n)
	for i := range tenants {
		id := fmt.Sprintf("t%d", i)
		mustExec(t, pool, "create schema tenant_"+id)
		tenants[i] = db.WithContext(as(t, id))
	}
	return p, tenants
}

// migrating returns db as the migrator uses it.
func migrating(db *gorm.DB) *gorm.DB {
	return db.WithContext(driver.WithPreamble(db.Statement.Context, func(*driver.Target) driver.Preamble { return driver.Preamble{} }))
}

// backend returns the process that serves the statement.
func backend(t testing.TB, db *gorm.DB) (pid int) {
	t.Helper()
	if err := db.Raw("select pg_backend_pid()").Scan(&pid).Error; err != nil {
		t.Fatal(err)
	}
	return pid
}

// spread opens n connections, by so many transactions at the same time.
func spread(t testing.TB, tenants []*gorm.DB) {
	t.Helper()
	open := make([]*gorm.DB, len(tenants))
	for i, db := range tenants {
		open[i] = db.Begin()
		backend(t, open[i])
	}
	for _, tx := range open {
		if err := tx.Rollback().Error; err != nil {
			t.Fatal(err)
		}
	}
}

func TestATenantStaysOnItsConnection(t *testing.T) {
	t.Parallel()
	_, tenants := fleet(t, 12, plugin.WithMaxConns(4), plugin.WithTenantsPerConn(15)) // so few that none may be ahead
	spread(t, tenants[:4])
	homes := make([]int, len(tenants))
	serves := map[int]int{}
	for i, db := range tenants {
		homes[i] = backend(t, db)
		serves[homes[i]]++
	}
	for pid, n := range serves {
		if n != 3 {
			t.Errorf("connection %d serves %d tenants of 12, want 3", pid, n)
		}
	}
	for round := range 20 {
		for i := range tenants {
			i = (i*7 + round) % len(tenants)
			if pid := backend(t, tenants[i]); pid != homes[i] {
				t.Fatalf("tenant %d went from connection %d to %d", i, homes[i], pid)
			}
		}
	}
}

// TestNewTenantsGoWhereTheLastOneWent, until that connection has more of them than the others by
// a sixteenth of what it may have.
func TestNewTenantsGoWhereTheLastOneWent(t *testing.T) {
	t.Parallel()
	_, tenants := fleet(t, 40, plugin.WithMaxConns(4), plugin.WithTenantsPerConn(160))
	spread(t, tenants[:4])
	serves, changes, last := map[int]int{}, 0, 0
	for _, db := range tenants[4:] {
		pid := backend(t, db)
		serves[pid]++
		if pid != last {
			changes++
		}
		last = pid
	}
	if len(serves) != 4 || changes > 10 {
		t.Errorf("%d connections serve the tenants, with %d changes between them", len(serves), changes)
	}
	for pid, n := range serves {
		if n > 9+10 {
			t.Errorf("connection %d serves %d of 36 new tenants: too many", pid, n)
		}
	}
}

func TestWithoutALimitAnyConnectionServesAnyTenant(t *testing.T) {
	t.Parallel()
	_, tenants := fleet(t, 4, plugin.WithMaxConns(4), plugin.WithTenantsPerConn(0))
	spread(t, tenants)
	top := backend(t, tenants[0]) // the pool hands out what came back last
	for i, db := range tenants {
		if pid := backend(t, db); pid != top {
			t.Errorf("tenant %d was served by %d, want %d", i, pid, top)
		}
	}
}

// TestATenantWhoseConnectionIsInUseGetsAnother, and does not wait for it long.
func TestATenantWhoseConnectionIsInUseGetsAnother(t *testing.T) {
	t.Parallel()
	_, tenants := fleet(t, 1, plugin.WithMaxConns(4))
	tx := tenants[0].Begin()
	busy := backend(t, tx)
	if pid := backend(t, tenants[0]); pid == busy {
		t.Errorf("one connection serves a transaction and another statement")
	}
	if err := tx.Rollback().Error; err != nil {
		t.Fatal(err)
	}
}

func TestAConnectionThatServedManyTenantsIsClosed(t *testing.T) {
	t.Parallel()
	const limit = 8
	for name, opts := range map[string][]plugin.Option{
		"preferring": nil,
		"with a hook of the user's": {plugin.WithPoolConfig(func(c *pgxpool.Config) error {
			c.PrepareConn = func(context.Context, *pgx.Conn) (bool, error) { return true, nil }
			return nil
		})},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, tenants := fleet(t, 40, append(opts, plugin.WithMaxConns(1), plugin.WithTenantsPerConn(limit))...)
			served := map[int]int{}
			for _, db := range tenants {
				served[backend(t, db)]++
			}
			for pid, n := range served {
				if n > limit+1 {
					t.Errorf("connection %d served %d tenants", pid, n)
				}
			}
			if len(served) < len(tenants)/(limit+1) {
				t.Errorf("%d connections served %d tenants", len(served), len(tenants))
			}
			eventually(t, "all connections are given back", func() bool { return p.Stats().Base.AcquiredConns() == 0 })
		})
	}
}

// TestTenantsTakeTurns: whoever sends one statement waits for one of each busy tenant, and not for all that they have.
func TestTenantsTakeTurns(t *testing.T) {
	t.Parallel()
	for name, other := range map[string]func([]*gorm.DB) *gorm.DB{
		"another tenant":   func(tenants []*gorm.DB) *gorm.DB { return tenants[1] },
		"the shared scope": func(tenants []*gorm.DB) *gorm.DB { return tenants[0].WithContext(scope.Shared(t.Context())) },
		"a migration":      func(tenants []*gorm.DB) *gorm.DB { return migrating(tenants[1]) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, tenants := fleet(t, 2, plugin.WithMaxConns(1))
			tx := tenants[0].Begin()
			backend(t, tx)
			const busy = 50
			var done atomic.Int64
			var all sync.WaitGroup
			for range busy {
				all.Go(func() {
					if err := tenants[0].Exec("select 1").Error; err != nil {
						t.Error(err)
					}
					done.Add(1)
				})
			}
			eventually(t, "the requests wait", func() bool { return p.Stats().Base.WaitingRequests() == busy })
			var before int64
			all.Go(func() {
				tx := other(tenants).Begin()
				if err := tx.Exec("select 1").Error; err != nil {
					t.Error(err)
				}
				before = done.Load()
				tx.Rollback()
			})
			eventually(t, "the other one waits, too", func() bool { return p.Stats().Base.WaitingRequests() == busy+1 })
			if err := tx.Rollback().Error; err != nil {
				t.Fatal(err)
			}
			all.Wait()
			if before > 4 { // two for the connection that has served them, one in turn
				t.Errorf("%d requests of the busy tenant came first", before)
			}
		})
	}
}

// TestAPingTakesItsTurn: it doesn't wait until pgxpool has a connection of its own.
func TestAPingTakesItsTurn(t *testing.T) {
	t.Parallel()
	p, tenants := fleet(t, 1, plugin.WithMaxConns(1))
	pool, err := tenants[0].DB()
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "a ping uses the connection that the statement used", func() bool {
		backend(t, tenants[0])
		before := p.Stats().Base
		if err := pool.PingContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		after := p.Stats().Base
		return after.AcquireCount() == before.AcquireCount()+1 && after.Stat.AcquireCount() == before.Stat.AcquireCount()
	})
}

// TestNobodyIsStarvedByABusyTenant, whose requests all have connections that served it,
// also while a migration has one of the connections.
func TestNobodyIsStarvedByABusyTenant(t *testing.T) {
	t.Parallel()
	for name, beside := range map[string]bool{"alone": false, "beside a migration": true} {
		t.Run(name, func(t *testing.T) { t.Parallel(); starve(t, beside) })
	}
}

func starve(t *testing.T, beside bool) {
	_, tenants := fleet(t, 3, plugin.WithMaxConns(2))
	if beside {
		tx := migrating(tenants[2]).Begin()
		if tx.Error != nil {
			t.Fatal(tx.Error)
		}
		defer tx.Rollback()
	}
	ctx, stop := context.WithCancel(tenants[0].Statement.Context)
	var flood sync.WaitGroup
	var served atomic.Int64
	var each [32]atomic.Int64
	for i := range each {
		flood.Go(func() {
			for ctx.Err() == nil {
				if err := tenants[0].Exec("select 1").Error; err != nil {
					t.Error(err)
				}
				served.Add(1)
				each[i].Add(1)
			}
		})
	}
	eventually(t, "the flood has begun", func() bool { return served.Load() >= 100 })
	for range 50 {
		before := served.Load()
		backend(t, tenants[1])
		if passed := served.Load() - before; passed > 500 {
			t.Errorf("%d statements of the other tenant came before", passed)
		}
	}
	for i := range each {
		eventually(t, "each request of the flood is served again", func() bool { return each[i].Load() > served.Load()/int64(10*len(each)) })
	}
	stop()
	flood.Wait()
}

// TestRequestsThatGiveUpLeaveNothingBehind: connections that they were just given go to
// the next, and none is lost.
func TestRequestsThatGiveUpLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	p, tenants := fleet(t, 16, plugin.WithMaxConns(2), plugin.WithTenantsPerConn(4), plugin.WithPoolConfig(func(c *pgxpool.Config) error {
		c.MaxConnLifetime = 50 * time.Millisecond
		return nil
	}))
	var all sync.WaitGroup
	var worked atomic.Int64
	for i := range 32 {
		all.Go(func() {
			for n := range 60 {
				db := tenants[(i+n)%len(tenants)]
				ctx, cancel := context.WithTimeout(db.Statement.Context, time.Duration(n%6)*10*time.Millisecond)
				if err := db.WithContext(ctx).Exec("select pg_sleep(0.001)").Error; err == nil {
					worked.Add(1)
				} else if ctx.Err() == nil {
					t.Error(err)
				}
				cancel()
			}
		})
	}
	all.Wait()
	if worked.Load() == 0 {
		t.Error("no statement worked")
	}
	for _, db := range tenants {
		backend(t, db)
	}
	eventually(t, "all connections are given back", func() bool { return p.Stats().Base.AcquiredConns() == 0 })
}

// TestAConnectionThatDiedWhileIdleIsNotHandedOut, also if it was idle in two places for a second together.
func TestAConnectionThatDiedWhileIdleIsNotHandedOut(t *testing.T) {
	t.Parallel()
	_, tenants := fleet(t, 3, plugin.WithMaxConns(3))
	spread(t, tenants)
	victim := backend(t, tenants[0])
	if err := tenants[1].Exec("select pg_terminate_backend(?, 10000)", victim).Error; err != nil {
		t.Fatal(err)
	}
	quiet := time.Now().Add(1100 * time.Millisecond)
	for i := 0; time.Now().Before(quiet); i++ {
		backend(t, tenants[1+i%2])
	}
	if pid := backend(t, tenants[0]); pid == victim {
		t.Error("a dead process answered")
	}
}

// TestClosingEndsTheWaiting of requests, and does not hang.
func TestClosingEndsTheWaiting(t *testing.T) {
	t.Parallel()
	p, tenants := fleet(t, 1, plugin.WithMaxConns(1))
	tx := tenants[0].Begin()
	backend(t, tx)
	var waiting sync.WaitGroup
	for range 4 {
		waiting.Go(func() { _ = tenants[0].Exec("select 1").Error })
	}
	closed := make(chan error)
	go func() { closed <- p.Close() }()
	if err := tx.Rollback().Error; err != nil {
		t.Error(err)
	}
	waiting.Wait()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Error(errors.New("it hangs"))
	}
}

// TestThePoolGrowsBeforeAConnectionServesTooMany: as long as it may open one more, none
// is closed for having served many, and each tenant keeps its own.
func TestThePoolGrowsBeforeAConnectionServesTooMany(t *testing.T) {
	t.Parallel()
	p, tenants := fleet(t, 20, plugin.WithMaxConns(4), plugin.WithTenantsPerConn(8))
	homes := make([]int, len(tenants))
	for i, db := range tenants {
		homes[i] = backend(t, db)
	}
	for i, db := range tenants {
		if pid := backend(t, db); pid != homes[i] {
			t.Errorf("tenant %d went from connection %d to %d", i, homes[i], pid)
		}
	}
	if n := p.Stats().Base.NewConnsCount(); n < 3 || n > 4 {
		t.Errorf("%d connections were opened", n)
	}
}

// TestIdleConnectionsServeWhereNoMoreCanBeHad: that one more would be better is no reason to
// fail.
func TestIdleConnectionsServeWhereNoMoreCanBeHad(t *testing.T) {
	t.Parallel()
	var opened atomic.Int64
	_, tenants := fleet(t, 8, plugin.WithMaxConns(4), plugin.WithTenantsPerConn(1), plugin.WithPoolConfig(func(c *pgxpool.Config) error {
		c.BeforeConnect = func(context.Context, *pgx.ConnConfig) error {
			if opened.Add(1) > 1 {
				return errors.New("the server has no room")
			}
			return nil
		}
		return nil
	}))
	for _, db := range tenants[:2] { // the second makes it serve more than it may, and it is closed afterwards
		backend(t, db)
	}
}

// TestTheShareOfATenantIsAnOption: how many transactions of one tenant may be open at a time.
func TestTheShareOfATenantIsAnOption(t *testing.T) {
	t.Parallel()
	const conns = 4
	for name, tt := range map[string]struct {
		opts []plugin.Option
		want int
	}{
		"the default":   {nil, 3},
		"all of them":   {[]plugin.Option{plugin.WithTenantShare(1, 1)}, 4},
		"a quarter":     {[]plugin.Option{plugin.WithTenantShare(0.25, 0.25)}, 1},
		"one at least":  {[]plugin.Option{plugin.WithTenantShare(0.01, 0.01)}, 1},
		"half, rounded": {[]plugin.Option{plugin.WithTenantShare(0.4, 0.1)}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, _, _ := twoTenants(t, nil, append(tt.opts, plugin.WithMaxConns(conns))...)
			begun := 0
			for range conns {
				ctx, cancel := context.WithTimeout(as(t, "a"), 10*time.Second)
				defer cancel()
				if begun == tt.want { // this one has to wait
					short, end := context.WithTimeout(ctx, 100*time.Millisecond)
					defer end()
					ctx = short
				}
				tx := db.WithContext(ctx).Begin()
				if tx.Error != nil {
					mustBe(t, tx.Error, context.DeadlineExceeded)
					break
				}
				defer tx.Rollback()
				begun++
			}
			if begun != tt.want {
				t.Errorf("%d transactions of one tenant were open at a time, want %d", begun, tt.want)
			}
		})
	}
	for _, shares := range [][2]float64{{0, 0}, {0.5, 0}, {0.5, 0.6}, {1.1, 0.5}, {-1, -1}} {
		mustSay(t, openPlain(t, pgtest.Database(t), nil).Use(plugin.New(plugin.BySchema(), plugin.WithTenantShare(shares[0], shares[1]))), "WithTenantShare")
	}
}
