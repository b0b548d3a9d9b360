package fairpool_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/internal/fairpool"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
)

type (
	pool = fairpool.Pool[string]
	conn = fairpool.Conn[string]
)

// limit is how long a test waits for what must happen.
const limit = 30 * time.Second

// config returns the configuration of a database of the test's own.
func config(t testing.TB, conns int) *pgxpool.Config {
	t.Helper()
	cfg, err := pgxpool.ParseConfig(pgtest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	cfg.MaxConns = int32(conns)
	return cfg
}

func open(t testing.TB, cfg *pgxpool.Config, opts ...fairpool.Option) *pool {
	t.Helper()
	p, err := fairpool.Open[string](t.Context(), cfg, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		closed := make(chan struct{})
		go func() { p.Close(); close(closed) }()
		select {
		case <-closed:
		case <-time.After(limit):
			t.Error("the pool does not close: a connection was not released")
		}
	})
	return p
}

// take returns a connection, which must not take long.
func take(t testing.TB, p *pool, key string) *conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	c, err := p.Acquire(ctx, key)
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	return c
}

// visit takes a connection, releases it, and returns its process at the server.
func visit(t testing.TB, p *pool, key string) uint32 {
	t.Helper()
	c := take(t, p, key)
	defer c.Release()
	return pid(c)
}

func pid(c *conn) uint32 { return c.Conn().PgConn().PID() }

// takeAll returns a connection for each key, all at the same time.
func takeAll(t testing.TB, p *pool, keys ...string) []*conn {
	t.Helper()
	all := make([]*conn, len(keys))
	for i, key := range keys {
		all[i] = take(t, p, key)
	}
	return all
}

func releaseAll(all []*conn) {
	for _, c := range all {
		c.Release()
	}
}

// answer is how an Acquire ended.
type answer struct {
	key string
	c   *conn
	err error
}

// queue starts a request that has to wait, and returns when it waits.
func queue(t testing.TB, p *pool, key string, answers chan<- answer) {
	t.Helper()
	before := p.Stat().WaitingRequests()
	go func() {
		c, err := p.Acquire(t.Context(), key)
		answers <- answer{key, c, err}
	}()
	eventually(t, key+" waits", func() bool { return p.Stat().WaitingRequests() > before })
}

// next returns the next answer, which must be a connection.
func next(t testing.TB, answers <-chan answer) answer {
	t.Helper()
	select {
	case a := <-answers:
		if a.err != nil {
			t.Fatalf("%s: %v", a.key, a.err)
		}
		return a
	case <-time.After(limit):
		t.Fatal("nobody got a connection")
		return answer{}
	}
}

func none(t testing.TB, answers <-chan answer) {
	t.Helper()
	select {
	case a := <-answers:
		t.Fatalf("%s got a connection, or %v", a.key, a.err)
	default:
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it is still not so that %s", what)
		}
	}
}

func names(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("t%d", i)
	}
	return all
}

func TestATenantGetsAConnectionThatHasServedIt(t *testing.T) {
	t.Parallel()
	p := open(t, config(t, 4), fairpool.WithTenantsPerConn(100))
	keys := names(4)
	all := takeAll(t, p, keys...)
	home := map[string]uint32{}
	for i, c := range all {
		home[keys[i]] = pid(c)
	}
	releaseAll(all)
	for _, i := range []int{0, 2, 1, 3, 3, 0} {
		if got := visit(t, p, keys[i]); got != home[keys[i]] {
			t.Errorf("%s was served by %d, want %d", keys[i], got, home[keys[i]])
		}
	}
	c := take(t, p, keys[0]) // and here it has a second one
	second := visit(t, p, keys[0])
	c.Release()
	if got := visit(t, p, keys[0]); got != home[keys[0]] || got == second {
		t.Errorf("got %d, want %d: the last used of those that have served the tenant", got, home[keys[0]])
	}
}

// TestANewTenantGetsTheLastUsed connection that has room, unless that has served a sixteenth of what it may
// more than another one.
func TestANewTenantGetsTheLastUsed(t *testing.T) {
	t.Parallel()
	p := open(t, config(t, 2), fairpool.WithTenantsPerConn(160))
	all := takeAll(t, p, "a", "b")
	releaseAll(all)
	last, other := pid(all[1]), pid(all[0])
	served := 0
	for _, key := range names(20) {
		if visit(t, p, key) != last {
			break
		}
		served++
	}
	if served < 120/16 || served > 160/16 { // the limit of a connection is 120 to 160
		t.Errorf("the last used connection got %d new tenants before the other one got one", served)
	}
	if got := visit(t, p, "c"); got != other {
		t.Errorf("the next new tenant got %d, want the last used again, %d", got, other)
	}
}

func TestWithoutALimitTheLastUsedServesAnybody(t *testing.T) {
	t.Parallel()
	p := open(t, config(t, 4))
	all := takeAll(t, p, names(4)...)
	releaseAll(all)
	for _, key := range names(8) {
		if got := visit(t, p, key); got != pid(all[3]) {
			t.Errorf("%s was served by %d, want %d", key, got, pid(all[3]))
		}
	}
}

// TestThePoolGrowsBeforeConnectionsAreCrowded: a new tenant gets another connection when each has served a
// quarter of what it may.
func TestThePoolGrowsBeforeConnectionsAreCrowded(t *testing.T) {
	t.Parallel()
	p := open(t, config(t, 3), fairpool.WithTenantsPerConn(8))
	seen := map[uint32]int{}
	for _, key := range names(6) {
		seen[visit(t, p, key)]++
	}
	if len(seen) != 3 {
		t.Errorf("tenants by connection: %v, want three connections", seen)
	}
}

func TestAConnectionIsClosedAfterItsTenants(t *testing.T) {
	t.Parallel()
	for name, hook := range map[string]func(*pgxpool.Config){
		"hot":   func(*pgxpool.Config) {},
		"hooks": func(c *pgxpool.Config) { c.AfterRelease = func(*pgx.Conn) bool { return true } },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config(t, 1)
			hook(cfg)
			p := open(t, cfg, fairpool.WithTenantsPerConn(8))
			served := map[uint32]int{}
			for _, key := range names(40) {
				served[visit(t, p, key)]++
			}
			for pid, n := range served {
				if n > 9 {
					t.Errorf("connection %d served %d tenants", pid, n)
				}
			}
			if len(served) < 5 {
				t.Errorf("%d connections served 40 tenants", len(served))
			}
		})
	}
}

// TestNobodyWaitsWhileAConnectionIsFree: 100 tenants, each served by every connection in the end.
func TestNobodyWaitsWhileAConnectionIsFree(t *testing.T) {
	t.Parallel()
	const workers = 8
	p := open(t, config(t, workers), fairpool.WithTenantsPerConn(1000))
	done := make(chan error, workers)
	for w := range workers {
		go func() {
			for i := range 500 {
				c, err := p.Acquire(t.Context(), fmt.Sprint("t", (i*workers+w)%100))
				if err != nil {
					done <- err
					return
				}
				_, err = c.Conn().Exec(t.Context(), "select 1")
				c.Release()
				if err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range workers {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	s := p.Stat()
	if s.EmptyAcquireCount() != s.NewConnsCount() {
		t.Errorf("%d requests waited, and %d connections were opened", s.EmptyAcquireCount(), s.NewConnsCount())
	}
}

// TestARequestWaitsForAKnownConnection where all idle ones are full of other tenants, and for a short time
// only.
func TestARequestWaitsForAKnownConnection(t *testing.T) {
	t.Parallel()
	p := open(t, config(t, 2), fairpool.WithTenantsPerConn(1), fairpool.WithShares(1, 1))
	all := takeAll(t, p, "a", "b")
	a, b := pid(all[0]), pid(all[1])
	all[0].Release()
	answers := make(chan answer, 1)
	for try := 0; ; try++ { // until b's comes back within the 2 ms
		startShort(t.Context(), p, "b", answers)
		all[1].Release()
		got := next(t, answers)
		if pid(got.c) == b {
			got.c.Release()
			break
		}
		if try == 20 {
			t.Fatal("no request waited for the connection that has served its tenant")
		}
		// It took a's, which is closed now. Begin again.
		got.c.Release()
		all = takeAll(t, p, "b", "a")
		a, b = pid(all[1]), pid(all[0])
		all[0], all[1] = all[1], all[0]
		all[0].Release()
	}
	c := take(t, p, "b") // is not released
	if pid(c) != b {
		t.Fatalf("b got %d, want %d", pid(c), b)
	}
	before := p.Stat().Stat.AcquireCount()
	second := take(t, p, "b")
	if pid(second) != a {
		t.Errorf("the second request of b got %d, want the full one, %d", pid(second), a)
	}
	if p.Stat().Stat.AcquireCount() != before {
		t.Error("it waited until the full one was given back to pgxpool")
	}
	c.Release()
	second.Release()
	eventually(t, "the connection that served two tenants is closed", func() bool { return p.Stat().TotalConns() == 1 })
}

// startShort starts a request that waits for a short time, and returns when it waits or has a connection.
func startShort(ctx context.Context, p *pool, key string, answers chan<- answer) {
	go func() {
		c, err := p.Acquire(ctx, key)
		answers <- answer{key, c, err}
	}()
	for p.Stat().WaitingRequests() == 0 && len(answers) == 0 {
		runtime.Gosched()
	}
}

func TestHotConnectionsAreGivenBack(t *testing.T) {
	t.Parallel()
	p := open(t, config(t, 4), fairpool.WithTenantsPerConn(100))
	releaseAll(takeAll(t, p, names(3)...))
	s := p.Stat()
	if s.IdleConns() != 3 || s.AcquiredConns() != 0 || s.Stat.IdleConns() != 0 {
		t.Errorf("idle %d, in use %d; pgxpool's idle %d", s.IdleConns(), s.AcquiredConns(), s.Stat.IdleConns())
	}
	began := time.Now()
	used := 0
	eventually(t, "those that are not used are pgxpool's", func() bool {
		visit(t, p, "t2")
		used++
		return p.Stat().Stat.IdleConns() == 2
	})
	if took := time.Since(began); took < 900*time.Millisecond {
		t.Errorf("given back after %s", took)
	}
	if s := p.Stat(); s.IdleConns() != 3 || s.NewConnsCount() != 3 {
		t.Errorf("idle %d of %d, after %d requests", s.IdleConns(), s.NewConnsCount(), used)
	}
	eventually(t, "the last one is, too", func() bool { return p.Stat().Stat.IdleConns() == 3 })
	visit(t, p, "t0")
	eventually(t, "the timer works again", func() bool { return p.Stat().Stat.IdleConns() == 3 })
}

// TestADeadConnectionIsNotHandedOut that was idle for longer than a second, a part of it in the hot list.
func TestADeadConnectionIsNotHandedOut(t *testing.T) {
	t.Parallel()
	p := open(t, config(t, 2), fairpool.WithTenantsPerConn(100))
	all := takeAll(t, p, "a", "b")
	victim := pid(all[0])
	if _, err := all[1].Conn().Exec(t.Context(), "select pg_terminate_backend($1, 10000)", victim); err != nil {
		t.Fatal(err)
	}
	all[0].Release()
	eventually(t, "it is pgxpool's", func() bool { return p.Stat().Stat.IdleConns() == 1 })
	c := take(t, p, "a")
	if err := c.Conn().Ping(t.Context()); err != nil || pid(c) == victim {
		t.Errorf("got %d, want another than %d: %v", pid(c), victim, err)
	}
	c.Release()
	all[1].Release()
}

func TestAnUnusableConnectionIsNotKept(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*pgxpool.Config) func(*conn) error{
		"in a transaction": func(*pgxpool.Config) func(*conn) error {
			return func(c *conn) error { _, err := c.Conn().Exec(context.Background(), "begin"); return err }
		},
		"closed": func(*pgxpool.Config) func(*conn) error {
			return func(c *conn) error { return c.Conn().Close(context.Background()) }
		},
		"busy": func(*pgxpool.Config) func(*conn) error {
			return func(c *conn) error { _, err := c.Conn().Query(context.Background(), "select 1"); return err }
		},
		"too old": func(cfg *pgxpool.Config) func(*conn) error {
			cfg.MaxConnLifetime = time.Second
			began := time.Now()
			return func(*conn) error {
				eventually(t, "it is too old", func() bool { return time.Since(began) > 2*cfg.MaxConnLifetime })
				return nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config(t, 1)
			f := spoil(cfg)
			p := open(t, cfg)
			c := take(t, p, "a")
			first := pid(c)
			answers := make(chan answer, 1)
			queue(t, p, "b", answers)
			if err := f(c); err != nil {
				t.Fatal(err)
			}
			c.Release()
			got := next(t, answers)
			if pid(got.c) == first {
				t.Errorf("the next request got the same connection")
			}
			got.c.Release()
		})
	}
}

// tracer is a pgx.QueryTracer, as pgx wants one, that traces nothing.
type tracer struct{}

func (tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}
func (tracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

type releaseTracer struct {
	tracer
	n *atomic.Int64
}

func (r releaseTracer) TraceRelease(*pgxpool.Pool, pgxpool.TraceReleaseData) { r.n.Add(1) }

type acquireTracer struct {
	tracer
	n *atomic.Int64
}

func (a acquireTracer) TraceAcquireStart(ctx context.Context, _ *pgxpool.Pool, _ pgxpool.TraceAcquireStartData) context.Context {
	return ctx
}
func (a acquireTracer) TraceAcquireEnd(context.Context, *pgxpool.Pool, pgxpool.TraceAcquireEndData) {
	a.n.Add(1)
}

// TestHooksSeeEachUse, and requests take turns all the same.
func TestHooksSeeEachUse(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(*pgxpool.Config, *atomic.Int64){
		"PrepareConn": func(c *pgxpool.Config, n *atomic.Int64) {
			c.PrepareConn = func(context.Context, *pgx.Conn) (bool, error) { n.Add(1); return true, nil }
		},
		"BeforeAcquire": func(c *pgxpool.Config, n *atomic.Int64) {
			c.BeforeAcquire = func(context.Context, *pgx.Conn) bool { n.Add(1); return true } //nolint:staticcheck // deprecated, and called
		},
		"AfterRelease": func(c *pgxpool.Config, n *atomic.Int64) {
			c.AfterRelease = func(*pgx.Conn) bool { n.Add(1); return true }
		},
		"ShouldPing": func(c *pgxpool.Config, n *atomic.Int64) {
			c.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { n.Add(1); return false }
		},
		"ReleaseTracer": func(c *pgxpool.Config, n *atomic.Int64) { c.ConnConfig.Tracer = releaseTracer{n: n} },
		"AcquireTracer": func(c *pgxpool.Config, n *atomic.Int64) { c.ConnConfig.Tracer = acquireTracer{n: n} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config(t, 1)
			var seen atomic.Int64
			set(cfg, &seen)
			testHooks(t, cfg, &seen)
		})
	}
}

func testHooks(t *testing.T, cfg *pgxpool.Config, seen *atomic.Int64) {
	p := open(t, cfg, fairpool.WithTenantsPerConn(100))
	for range 5 {
		visit(t, p, "a")
	}
	eventually(t, "the hook has seen each use", func() bool { return seen.Load() == 5 })
	c, answers := take(t, p, "a"), make(chan answer, 3)
	for _, key := range []string{"a", "a", "b"} {
		queue(t, p, key, answers)
	}
	c.Release()
	for _, want := range []string{"a", "b", "a"} {
		got := next(t, answers)
		if got.key != want {
			t.Errorf("%s got the connection, want %s", got.key, want)
		}
		got.c.Release()
	}
}

// TestTheErrorOfOpeningIsTheRequests that asked for the connection, and the next one may ask.
func TestTheErrorOfOpeningIsTheRequests(t *testing.T) {
	t.Parallel()
	cfg := config(t, 1)
	refused := errors.New("the server has no room")
	var dials atomic.Int64
	enter, refuse := make(chan struct{}), make(chan struct{})
	cfg.BeforeConnect = func(context.Context, *pgx.ConnConfig) error {
		if dials.Add(1) == 1 {
			close(enter)
			<-refuse
			return refused
		}
		return nil
	}
	p := open(t, cfg)
	first, second := make(chan answer, 1), make(chan answer, 1)
	go func() {
		c, err := p.Acquire(t.Context(), "a")
		first <- answer{"a", c, err}
	}()
	<-enter
	queue(t, p, "b", second)
	close(refuse)
	if a := <-first; !errors.Is(a.err, refused) {
		t.Errorf("the one who dialled got %v", a.err)
	}
	next(t, second).c.Release()
}

// TestIdleConnectionsDoWhereNoMoreCanBeHad, and for a while nobody asks for more.
func TestIdleConnectionsDoWhereNoMoreCanBeHad(t *testing.T) {
	t.Parallel()
	cfg := config(t, 4)
	var dials atomic.Int64
	cfg.BeforeConnect = func(context.Context, *pgx.ConnConfig) error {
		if dials.Add(1) > 1 {
			return errors.New("the server has no room")
		}
		return nil
	}
	p := open(t, cfg, fairpool.WithTenantsPerConn(20))
	for _, key := range names(12) {
		visit(t, p, key)
	}
	if n := dials.Load(); n < 2 || n > 4 {
		t.Errorf("%d tries to connect", n)
	}
}

func TestCloseEndsTheWaiting(t *testing.T) {
	t.Parallel()
	p := open(t, config(t, 2))
	all, answers := takeAll(t, p, "a", "b"), make(chan answer, 3)
	for _, key := range []string{"a", "c", "c"} {
		queue(t, p, key, answers)
	}
	closed := make(chan struct{})
	go func() { p.Close(); close(closed) }()
	for range 3 {
		if a := <-answers; !errors.Is(a.err, fairpool.ErrClosed) {
			t.Errorf("%s: %v", a.key, a.err)
		}
	}
	select {
	case <-closed:
		t.Error("it is closed while connections are in use")
	default:
	}
	releaseAll(all)
	<-closed
	if _, err := p.Acquire(t.Context(), "a"); !errors.Is(err, fairpool.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	p.Close()
}

// TestCloseGivesHotConnectionsBack: pgxpool waits for all.
func TestCloseGivesHotConnectionsBack(t *testing.T) {
	t.Parallel()
	p := open(t, config(t, 3))
	releaseAll(takeAll(t, p, names(3)...))
	p.Close()
	if n := p.Stat().TotalConns(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

func TestOptionsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	cfg, err := pgxpool.ParseConfig("")
	if err != nil {
		t.Fatal(err)
	}
	for name, opt := range map[string]fairpool.Option{
		"negative":        fairpool.WithTenantsPerConn(-1),
		"no share":        fairpool.WithShares(1, 0),
		"more than all":   fairpool.WithShares(1.1, 0.5),
		"wrong way round": fairpool.WithShares(0.5, 0.75),
	} {
		if _, err := fairpool.Open[string](t.Context(), cfg, opt); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
