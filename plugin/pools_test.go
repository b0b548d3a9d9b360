package plugin_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
)

func TestOneDialServesAllThatWait(t *testing.T) {
	t.Parallel()
	d := roles(t, pgtest.DSN(t), 1)[0]
	var opened sockets
	arrived := make(chan struct{})
	pools := newPools(t, plugin.WithConnsPerDatabase(1), plugin.WithDatabaseConfig(opened.count), plugin.WithDatabaseConfig(func(*pgxpool.Config) error {
		<-arrived // nothing is dialed before all of them wait
		return nil
	}))
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if err := use(t.Context(), pools, d); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "50 requests wait", func() bool { s := pools.Stats(); return len(s) == 1 && s[0].Waiting == 50 })
	close(arrived)
	wg.Wait()
	if n := opened.ever.Load(); n != 1 {
		t.Errorf("%d dials for 50 first requests", n)
	}
	if s := only(t, pools); s.Dials != 1 || s.DialFailures != 0 || s.InUse != 0 || s.Waiting != 0 || s.Waits != 49 {
		t.Errorf("%+v", s)
	}
}

func TestTheBudgetIsNeverExceeded(t *testing.T) {
	t.Parallel()
	const budget = 8
	places := roles(t, pgtest.DSN(t), 20)
	var opened sockets
	pools := newPools(t, plugin.WithBudget(budget), plugin.WithDatabaseConfig(cancelWhenDialing), plugin.WithDatabaseConfig(opened.count))
	watch := admin(t, places[0].Server)
	stop := make(chan struct{})
	var watching, wg sync.WaitGroup
	watching.Go(func() { watchSessions(t, watch, budget, stop) })
	var done, ended atomic.Int64
	for i := range 64 {
		wg.Go(func() {
			for j := range 40 {
				ctx, cancel := context.WithCancel(t.Context())
				switch (i + j) % 3 {
				case 0:
					ctx, cancel = context.WithTimeout(t.Context(), time.Duration(rand.IntN(30))*time.Millisecond)
				case 1:
					ctx = context.WithValue(ctx, cancelKey{}, cancel) // as soon as its lease dials
				}
				err := use(ctx, pools, places[rand.IntN(len(places))])
				switch {
				case err == nil:
					done.Add(1)
				case ctx.Err() != nil:
					ended.Add(1)
				default:
					t.Error(err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	close(stop)
	watching.Wait()
	t.Logf("%d done, %d ended, %d sockets, %d at most: %+v", done.Load(), ended.Load(), opened.ever.Load(), opened.most.Load(), only(t, pools).Evictions)
	if n := opened.most.Load(); n > budget {
		t.Errorf("%d sockets were open at a time", n)
	}
	if done.Load() < 500 || ended.Load() < 50 {
		t.Errorf("%d done and %d ended prove nothing", done.Load(), ended.Load())
	}
	mustSettle(t, pools, budget)
}

// mustSettle waits until nothing is in use, and looks whether all of the budget
// can be had.
func mustSettle(t *testing.T, pools *plugin.Pools, budget int) {
	t.Helper()
	eventually(t, "nothing is in use", func() bool { s := only(t, pools); return s.InUse == 0 && s.Waiting == 0 })
	fresh := roles(t, pgtest.DSN(t), budget)
	var all []*held
	for _, d := range fresh {
		all = append(all, hold(t, pools, d))
	}
	if s := only(t, pools); s.InUse != budget || s.Open > budget {
		t.Errorf("%+v", s)
	}
	for _, h := range all {
		h.giveBack()
	}
}

type cancelKey struct{}

// cancelWhenDialing ends the context of a request that begins to dial, if the
// request wants that.
func cancelWhenDialing(c *pgxpool.Config) error {
	c.BeforeConnect = func(ctx context.Context, _ *pgx.ConnConfig) error {
		if cancel, ok := ctx.Value(cancelKey{}).(context.CancelFunc); ok {
			cancel()
		}
		return nil
	}
	return nil
}

// watchSessions looks at the server. A session ends a little after its socket, with
// PostgreSQL 18 some milliseconds, so only those count that are there twice.
func watchSessions(t *testing.T, pool *pgxpool.Pool, budget int, stop <-chan struct{}) {
	var before []int32
	for {
		rows, err := pool.Query(t.Context(), "select pid from pg_stat_activity where datname = current_database() and usename like 'role%'")
		if err != nil {
			t.Error(err)
			return
		}
		pids, err := pgx.CollectRows(rows, pgx.RowTo[int32])
		if err != nil {
			t.Error(err)
			return
		}
		both := 0
		for _, pid := range pids {
			if slices.Contains(before, pid) {
				both++
			}
		}
		if both > budget {
			t.Errorf("%d sessions on the server", both)
		}
		before = pids
		select {
		case <-stop:
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestTheLeastRecentlyUsedIsClosedFirst(t *testing.T) {
	t.Parallel()
	places := roles(t, pgtest.DSN(t), 4)
	pools := newPools(t, plugin.WithBudget(3))
	for _, i := range []int{0, 1, 2, 0} {
		mustUse(t, pools, places[i])
	}
	mustUse(t, pools, places[3])
	if got, want := users(only(t, pools)), []string{places[0].User, places[2].User, places[3].User}; !slices.Equal(got, want) {
		t.Errorf("open are %q, want %q", got, want)
	}
	if s := only(t, pools); s.Evictions != 1 || s.Dials != 4 {
		t.Errorf("%+v", s)
	}
}

func TestAPoolInUseIsNotClosed(t *testing.T) {
	t.Parallel()
	places := roles(t, pgtest.DSN(t), 3)
	pools := newPools(t, plugin.WithBudget(2), plugin.WithIdleTTL(time.Nanosecond))
	h := hold(t, pools, places[0])
	var pid uint32
	if err := h.conn.QueryRow(t.Context(), "select pg_backend_pid()").Scan(&pid); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		mustUse(t, pools, places[1])
		mustUse(t, pools, places[2])
	}
	var still uint32
	if err := h.conn.QueryRow(t.Context(), "select pg_backend_pid()").Scan(&still); err != nil || still != pid {
		t.Errorf("process %d, was %d: %v", still, pid, err)
	}
	h.giveBack()
}

func TestAnUnusedConnectionOfAPoolInUseMovesOn(t *testing.T) {
	t.Parallel()
	places := roles(t, pgtest.DSN(t), 2)
	var opened sockets
	pools := newPools(t, plugin.WithBudget(3), plugin.WithDatabaseConfig(opened.count))
	busy, a, b := hold(t, pools, places[0]), hold(t, pools, places[0]), hold(t, pools, places[0])
	a.giveBack()
	b.giveBack()
	one, two := hold(t, pools, places[1]), hold(t, pools, places[1])
	if s := only(t, pools); s.InUse != 3 || s.Open != 3 || opened.most.Load() > 3 {
		t.Errorf("%d sockets, %+v", opened.most.Load(), s)
	}
	for _, h := range []*held{busy, one, two} {
		h.giveBack()
	}
}

func TestAPoolIsClosedWhenItWasNotUsedForLong(t *testing.T) {
	t.Parallel()
	places := roles(t, pgtest.DSN(t), 2)
	var opened sockets
	pools := newPools(t, plugin.WithIdleTTL(20*time.Millisecond), plugin.WithDatabaseConfig(opened.count))
	h := hold(t, pools, places[0])
	mustUse(t, pools, places[1])
	eventually(t, "the other pool is closed", func() bool { return opened.now.Load() == 1 && len(only(t, pools).Places) == 1 })
	h.giveBack()
	eventually(t, "both are closed", func() bool { return opened.now.Load() == 0 && len(only(t, pools).Places) == 0 })
	if s := only(t, pools); s.Dials != 2 || s.Evictions != 0 {
		t.Errorf("the counts of the server: %+v", s)
	}
	mustUse(t, pools, places[0])
}

func TestAFailureIsRememberedForItsCredentialsOnly(t *testing.T) {
	t.Parallel()
	d := roles(t, pgtest.DSN(t), 1)[0]
	wrong := d
	wrong.Password = "not the secret"
	var opened sockets
	pools := newPools(t, plugin.WithDatabaseConfig(opened.count))
	_, first := pools.Place(t.Context(), wrong)
	mustSay(t, first, d.User, "password authentication failed")
	tried := opened.ever.Load()
	for range 20 {
		if _, err := pools.Place(t.Context(), wrong); err == nil || err.Error() != first.Error() {
			t.Errorf("got %v, want the same as at first", err)
		}
	}
	if n := opened.ever.Load(); n != tried {
		t.Errorf("%d dials of a place that has just failed", n-tried)
	}
	if s := only(t, pools); s.DialFailures != 1 || len(s.Places) != 1 || s.Places[0].DialFailures != 1 || s.Open != 0 {
		t.Errorf("%+v", s)
	}
	mustUse(t, pools, d)
	eventually(t, "the failure is forgotten", func() bool { return only(t, pools).Places[0].DialFailures == 0 })
	if _, err := pools.Place(t.Context(), wrong); err == nil || opened.ever.Load() < tried+2 {
		t.Errorf("%d dials: %v", opened.ever.Load(), err)
	}
}

func TestWaitingHonoursTheContext(t *testing.T) {
	t.Parallel()
	places := roles(t, pgtest.DSN(t), 2)
	pools := newPools(t, plugin.WithBudget(1))
	h := hold(t, pools, places[0])
	for _, d := range places { // for more of a place at its maximum, and for the first of another
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error)
		go func() { result <- use(ctx, pools, d) }()
		eventually(t, "a request waits", func() bool { return only(t, pools).Waiting == 1 })
		cancel()
		err := <-result
		mustBe(t, err, context.Canceled)
		mustSay(t, err, d.User, "WithBudget")
	}
	if s := only(t, pools); s.Waiting != 0 || s.Waits != 2 || len(s.Places) != 1 {
		t.Errorf("%+v", s)
	}
	if kept := h.giveBack(); !kept {
		t.Error("the connection was closed for a request that has gone")
	}
	mustUse(t, pools, places[1])
}

func TestANewPasswordReplacesThePool(t *testing.T) {
	t.Parallel()
	d := roles(t, pgtest.DSN(t), 1)[0]
	pool := admin(t, d.Server)
	var opened sockets
	pools := newPools(t, plugin.WithBudget(6), plugin.WithDatabaseConfig(opened.count))
	old, idle := hold(t, pools, d), hold(t, pools, d)
	idle.giveBack()
	stop := make(chan struct{})
	var working, wg sync.WaitGroup
	working.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := old.conn.Exec(t.Context(), "select 1"); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for _, password := range []string{"second", "third"} {
		d.Password = password
		mustExec(t, pool, fmt.Sprintf("alter role %s password '%s'", d.User, password))
		for range 20 {
			wg.Go(func() {
				if err := use(t.Context(), pools, d); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	close(stop)
	working.Wait()
	if _, err := old.conn.Exec(t.Context(), "select 1"); err != nil {
		t.Error(err)
	}
	if kept := old.giveBack(); kept {
		t.Error("the old pool has kept a connection")
	}
	eventually(t, "one pool is left", func() bool { s := only(t, pools); return len(s.Places) == 1 && int64(s.Open) == opened.now.Load() })
	if n := opened.most.Load(); n > 6 {
		t.Errorf("%d sockets at a time", n)
	}
}

func TestATenantWithEndlessDemandStarvesNobody(t *testing.T) {
	t.Parallel()
	for _, budget := range []int{1, 3, 8} {
		t.Run(fmt.Sprint(budget), func(t *testing.T) {
			t.Parallel()
			places := roles(t, pgtest.DSN(t), 4)
			pools := newPools(t, plugin.WithBudget(budget))
			stop := make(chan struct{})
			var hogs sync.WaitGroup
			var served atomic.Int64
			for i := range 40 {
				hogs.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						if err := use(t.Context(), pools, places[i%2]); err != nil {
							t.Error(err)
							return
						}
						served.Add(1)
					}
				})
			}
			eventually(t, "the hogs have it all", func() bool { return served.Load() > 40 })
			for i := range 8 {
				mustUse(t, pools, places[2+i%2])
			}
			before := served.Load()
			eventually(t, "the hogs go on", func() bool { return served.Load() > before+40 })
			close(stop)
			hogs.Wait()
		})
	}
}

func TestAServerThatHangsHoldsUpNobodyElse(t *testing.T) {
	t.Parallel()
	hung := silent(t)
	fine := roles(t, pgtest.DSN(t), 4)
	pools := newPools(t, plugin.WithBudget(4))
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var wg sync.WaitGroup
	for i := range 100 {
		d := hung
		d.User = fmt.Sprintf("u%d", i%10)
		wg.Go(func() { mustEnd(t, use(ctx, pools, d)) })
	}
	eventually(t, "the server that hangs has all it may", func() bool {
		s := pools.Stats()
		return len(s) == 1 && s[0].Waiting == 100 && s[0].Open == 4
	})
	for _, d := range fine {
		mustUse(t, pools, d)
	}
	for _, s := range pools.Stats() {
		if s.Places[0].User == fine[0].User && (s.Waits != 0 || s.Open != 4) {
			t.Errorf("%+v", s)
		}
	}
	wg.Wait()
}

func mustEnd(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got error %v", err)
	}
}

// TestNothingIsLeftOfTenThousandPlaces opens some hundred and fails at the
// others: each of them would cost a real server 10 ms.
func TestNothingIsLeftOfTenThousandPlaces(t *testing.T) {
	const places, real = 10_000, 200
	broken := listen(t, func(c net.Conn) { _ = c.Close() })
	fine := roles(t, pgtest.DSN(t), real)
	before := runtime.NumGoroutine()
	pools := newPools(t, plugin.WithBudget(20), plugin.WithIdleTTL(100*time.Millisecond))
	next := make(chan int)
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for i := range next {
				if i < real {
					if err := use(t.Context(), pools, fine[i]); err != nil {
						t.Error(err)
					}
					continue
				}
				d := broken
				d.Name = fmt.Sprintf("db%d", i)
				if _, err := pools.Place(t.Context(), d); err == nil {
					t.Error("a broken server has let us in")
				}
			}
		})
	}
	for i := range places {
		next <- i
	}
	close(next)
	wg.Wait()
	eventually(t, "nothing is left", func() bool {
		for _, s := range pools.Stats() {
			if len(s.Places) > 0 || s.Open > 0 {
				return false
			}
		}
		return runtime.NumGoroutine() <= before
	})
	var dials, failures uint64
	for _, s := range pools.Stats() {
		dials += s.Dials
		failures += s.DialFailures
	}
	if dials < places || failures != places-real {
		t.Errorf("%d dials and %d failures are counted", dials, failures)
	}
}

func TestCloseWaitsAndEndsEverything(t *testing.T) {
	t.Parallel()
	places := roles(t, pgtest.DSN(t), 3)
	hung := silent(t)
	var opened sockets
	pools := newPools(t, plugin.WithBudget(1), plugin.WithDatabaseConfig(opened.count))
	h := hold(t, pools, places[0])
	waiting := make(chan error, 2)
	for _, d := range []plugin.Database{places[1], hung} {
		go func() { waiting <- use(t.Context(), pools, d) }()
	}
	eventually(t, "they wait", func() bool { s := pools.Stats(); return len(s) == 2 && s[0].Waiting+s[1].Waiting == 2 })
	closed := make(chan struct{}, 2)
	for range 2 {
		go func() { mustClose(t, pools); closed <- struct{}{} }()
	}
	for range 2 {
		mustSay(t, <-waiting, "closed")
	}
	_, err := pools.Place(t.Context(), places[2])
	mustSay(t, err, "the pools are closed")
	select {
	case <-closed:
		t.Error("closed while a connection is in use")
	default:
	}
	if _, err := h.conn.Exec(t.Context(), "select 1"); err != nil {
		t.Error(err)
	}
	h.giveBack()
	<-closed
	<-closed
	if n := opened.now.Load(); n != 0 {
		t.Errorf("%d sockets are left", n)
	}
}

func TestAbandonedDialsDoNotTakeTheBudgetAway(t *testing.T) {
	t.Parallel()
	d := roles(t, pgtest.DSN(t), 1)[0]
	var opened sockets
	pools := newPools(t, plugin.WithBudget(2), plugin.WithDatabaseConfig(cancelWhenDialing), plugin.WithDatabaseConfig(opened.count))
	h := hold(t, pools, d) // so that others dial on their own
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		err := use(context.WithValue(ctx, cancelKey{}, cancel), pools, d)
		if err != nil && ctx.Err() == nil {
			t.Error(err)
		}
		cancel()
	}
	other := hold(t, pools, d)
	if n := opened.most.Load(); n > 2 {
		t.Errorf("%d sockets at a time", n)
	}
	other.giveBack()
	h.giveBack()
}

func TestABrokenConnectionIsReplacedWithinTheBudget(t *testing.T) {
	t.Parallel()
	d := roles(t, pgtest.DSN(t), 1)[0]
	var opened sockets
	pools := newPools(t, plugin.WithBudget(1), plugin.WithDatabaseConfig(opened.count))
	for range 10 {
		h := hold(t, pools, d)
		_, err := h.conn.Exec(t.Context(), "select pg_terminate_backend(pg_backend_pid())")
		var pgErr *pgconn.PgError
		if !errors.As(err, &pgErr) {
			t.Errorf("got error %v", err)
		}
		h.giveBack()
	}
	mustUse(t, pools, d)
	if n := opened.most.Load(); n != 1 {
		t.Errorf("%d sockets at a time", n)
	}
}

func TestWrongOptionsOfPoolsAreErrors(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]plugin.PoolsOption{
		"WithBudget":           plugin.WithBudget(0),
		"WithConnsPerDatabase": plugin.WithConnsPerDatabase(-1),
		"WithIdleTTL":          plugin.WithIdleTTL(0),
		"WithDatabaseConfig":   plugin.WithDatabaseConfig(nil),
	} {
		_, err := plugin.NewPools(o)
		mustSay(t, err, "plugin: "+name)
	}
	pools := newPools(t, plugin.WithDatabaseConfig(func(*pgxpool.Config) error { return errors.New("no token today") }))
	_, err := pools.Place(t.Context(), plugin.Database{Server: pgtest.DSN(t)})
	mustSay(t, err, "WithDatabaseConfig", "no token today")
}
