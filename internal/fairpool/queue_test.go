package fairpool_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/internal/fairpool"
)

// TestTenantsTakeTurns: one request of a tenant waits for one of each other tenant, however many these have.
func TestTenantsTakeTurns(t *testing.T) {
	t.Parallel()
	p := open(t, config(t, 1), fairpool.WithTenantsPerConn(1000))
	c, answers := take(t, p, "a"), make(chan answer, 500)
	for range 400 {
		go func() {
			c, err := p.Acquire(t.Context(), "a")
			answers <- answer{"a", c, err}
		}()
	}
	eventually(t, "400 wait", func() bool { return p.Stat().WaitingRequests() == 400 })
	queue(t, p, "b", answers)
	queue(t, p, "c", answers)
	queue(t, p, "c", answers)
	var order []string
	for range 6 {
		c.Release()
		got := next(t, answers)
		c = got.c
		order = append(order, got.key)
	}
	// The connection has served a, so b and c may be passed over twice.
	if b, c := slices.Index(order, "b"), slices.Index(order, "c"); b < 0 || b > 3 || c < 0 || c > 4 {
		t.Errorf("served in the order %v", order)
	}
	for range 403 - 6 {
		c.Release()
		c = next(t, answers).c
	}
	c.Release()
}

// TestRequestsOfOneTenantAreServedInOrder, also when some of them end while they wait.
func TestRequestsOfOneTenantAreServedInOrder(t *testing.T) {
	t.Parallel()
	p := open(t, config(t, 1))
	c := take(t, p, "a")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	type numbered struct {
		n int
		answer
	}
	answers := make(chan numbered, 10)
	for i := range 10 {
		under := t.Context()
		if i%3 == 0 {
			under = ctx
		}
		go func() {
			c, err := p.Acquire(under, "a")
			answers <- numbered{i, answer{"a", c, err}}
		}()
		eventually(t, "it waits", func() bool { return p.Stat().WaitingRequests() == i+1 })
	}
	cancel()
	for range 4 {
		if a := <-answers; !errors.Is(a.err, context.Canceled) || a.n%3 != 0 {
			t.Errorf("request %d: %v", a.n, a.err)
		}
	}
	for _, want := range []int{1, 2, 4, 5, 7, 8} {
		c.Release()
		a := <-answers
		if a.err != nil || a.n != want {
			t.Fatalf("request %d got the connection, want %d: %v", a.n, want, a.err)
		}
		c = a.c
	}
	c.Release()
}

// TestAReleasedConnectionGoesToATenantItKnows, if that passes over nobody more than twice.
func TestAReleasedConnectionGoesToATenantItKnows(t *testing.T) {
	t.Parallel()
	p := open(t, config(t, 1), fairpool.WithTenantsPerConn(100))
	c, answers := take(t, p, "known"), make(chan answer, 8)
	for _, key := range []string{"new", "known", "known", "known", "known"} {
		queue(t, p, key, answers)
	}
	for i, want := range []string{"known", "known", "new", "known", "known"} {
		c.Release()
		got := next(t, answers)
		if got.key != want {
			t.Errorf("%d: %s got the connection, want %s", i, got.key, want)
		}
		c = got.c
	}
	c.Release()
}

// TestATenantNeverHoldsMoreThanItsShare, and others get the rest at once.
func TestATenantNeverHoldsMoreThanItsShare(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		conns, want int
		opts        []fairpool.Option
	}{
		{conns: 1, want: 1},
		{conns: 2, want: 2},
		{conns: 4, want: 3},
		{conns: 8, want: 6},
		{conns: 4, want: 4, opts: []fairpool.Option{fairpool.WithShares(1, 0.5)}},
		{conns: 8, want: 2, opts: []fairpool.Option{fairpool.WithShares(0.25, 0.25)}},
	} {
		t.Run(fmt.Sprint(tt.want, " of ", tt.conns), func(t *testing.T) {
			t.Parallel()
			p := open(t, config(t, tt.conns), tt.opts...)
			keys := make([]string, tt.want)
			all, answers := takeAll(t, p, keys...), make(chan answer, 1)
			queue(t, p, "", answers)
			for i := range tt.conns - tt.want {
				all = append(all, take(t, p, fmt.Sprint("other ", i)))
			}
			none(t, answers)
			all[0].Release()
			all[0] = next(t, answers).c
			releaseAll(all)
		})
	}
}

// TestATenantGetsNoMoreThanHalfWhileOthersWait: two of four connections, and three when nobody else waits.
func TestATenantGetsNoMoreThanHalfWhileOthersWait(t *testing.T) {
	t.Parallel()
	p := open(t, config(t, 4))
	const g, o = "greedy", "other"
	held := map[string][]*conn{g: takeAll(t, p, g, g, g), o: takeAll(t, p, o)}
	answers := make(chan answer, 6)
	for _, key := range []string{g, g, g, g, o, o} {
		queue(t, p, key, answers)
	}
	for i, step := range []struct{ releases, gets string }{
		{g, o}, // greedy has two now, and would have three
		{g, g},
		{o, o},
		{o, g}, // the other tenant has no more requests
		{o, ""},
		{g, g},
	} {
		held[step.releases][0].Release()
		held[step.releases] = held[step.releases][1:]
		if step.gets == "" {
			none(t, answers)
			continue
		}
		got := next(t, answers)
		if got.key != step.gets {
			t.Errorf("step %d: %s got the connection, want %s", i, got.key, step.gets)
		}
		held[got.key] = append(held[got.key], got.c)
	}
	releaseAll(append(held[g], held[o]...))
	next(t, answers).c.Release()
}

// TestSmallSharesLeaveNothingUnused: where all who wait have their smaller share, they get more.
func TestSmallSharesLeaveNothingUnused(t *testing.T) {
	t.Parallel()
	p := open(t, config(t, 4), fairpool.WithShares(0.5, 0.25))
	all := takeAll(t, p, "a", "a", "b", "b")
	answers := make(chan answer, 2)
	queue(t, p, "a", answers)
	queue(t, p, "b", answers)
	all[0].Release()
	got := next(t, answers)
	if got.key != "a" { // it has one now, b has two
		t.Errorf("%s got the connection", got.key)
	}
	all[2].Release()
	more := next(t, answers)
	releaseAll([]*fairpool.Conn[string]{all[1], all[3], got.c, more.c})
}

// TestOneConnectionServesManyTenants, and one alone.
func TestOneConnectionServesManyTenants(t *testing.T) {
	t.Parallel()
	for _, tenants := range []int{1, 5} {
		p := open(t, config(t, 1), fairpool.WithTenantsPerConn(100))
		var all sync.WaitGroup
		var served [5]atomic.Int64
		for i := range 10 {
			all.Go(func() {
				for range 20 {
					c := take(t, p, fmt.Sprint(i%tenants))
					served[i%tenants].Add(1)
					c.Release()
				}
			})
		}
		all.Wait()
		for i := range tenants {
			if n := served[i].Load(); n != int64(200/tenants) {
				t.Errorf("tenant %d of %d was served %d times", i, tenants, n)
			}
		}
	}
}

// TestContextsThatEndLeaveNothingBehind: afterwards each connection can be had.
func TestContextsThatEndLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	const conns = 3
	cfg := config(t, conns)
	cfg.MaxConnLifetime = 20 * time.Millisecond // so that connections are opened all the time
	p := open(t, cfg, fairpool.WithTenantsPerConn(4))
	var all sync.WaitGroup
	var worked, ended atomic.Int64
	for i := range 24 {
		all.Go(func() {
			for n := range 60 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(8))*time.Millisecond)
				c, err := p.Acquire(ctx, fmt.Sprint((i+n)%9))
				switch {
				case err == nil:
					_, _ = c.Conn().Exec(ctx, "select pg_sleep(0.001)")
					c.Release()
					worked.Add(1)
				case errors.Is(err, context.DeadlineExceeded):
					ended.Add(1)
				default:
					t.Error(err)
				}
				cancel()
			}
		})
	}
	all.Wait()
	if worked.Load() == 0 || ended.Load() == 0 {
		t.Errorf("%d worked, %d ended before", worked.Load(), ended.Load())
	}
	held := takeAll(t, p, names(conns)...)
	if s := p.Stat(); s.AcquiredConns() != conns || s.WaitingRequests() != 0 {
		t.Errorf("%d in use, %d waiting", s.AcquiredConns(), s.WaitingRequests())
	}
	releaseAll(held)
}

// TestAConnectionGivenTooLateIsNotLost: the context ends at the moment at which the request gets its connection,
// or may ask for one.
func TestAConnectionGivenTooLateIsNotLost(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]*pgxpool.Config{"a connection": config(t, 1), "a place to ask": config(t, 1)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "a place to ask" {
				cfg.AfterRelease = func(*pgx.Conn) bool { return true } // a pool with hooks gives nothing from hand to hand
			}
			p := open(t, cfg)
			for range 100 {
				c := take(t, p, "a")
				ctx, cancel := context.WithCancel(t.Context())
				late := make(chan struct{})
				go func() {
					defer close(late)
					if c, err := p.Acquire(ctx, "b"); err == nil {
						c.Release()
					}
				}()
				eventually(t, "it waits", func() bool { return p.Stat().WaitingRequests() == 1 })
				cancel()
				c.Release()
				<-late
			}
			visit(t, p, "a")
		})
	}
}

// TestWhoAsksPgxpoolIsServed, although somebody who has no turn holds a connection that it counted on.
func TestWhoAsksPgxpoolIsServed(t *testing.T) {
	t.Parallel()
	p := open(t, config(t, 2), fairpool.WithTenantsPerConn(100))
	outside, err := p.Pgx().Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Release()
	c := take(t, p, "a")
	answers := make(chan answer, 1)
	go func() {
		c, err := p.Acquire(t.Context(), "b")
		answers <- answer{"b", c, err}
	}()
	ctx, stop := context.WithCancel(t.Context())
	var flood sync.WaitGroup
	for range 8 {
		flood.Go(func() {
			for ctx.Err() == nil {
				if c, err := p.Acquire(ctx, "a"); err == nil {
					c.Release()
				}
			}
		})
	}
	c.Release()
	next(t, answers).c.Release()
	stop()
	flood.Wait()
}

// TestAGreedyTenantDelaysOthersLittle: 64 requests at a time of one tenant against one request at a time of
// each of 20 others. Without turns, each of them waits behind 64 requests on four connections: 0.8 s.
func TestAGreedyTenantDelaysOthersLittle(t *testing.T) {
	t.Parallel()
	p := open(t, config(t, 4), fairpool.WithTenantsPerConn(1000))
	ctx, stop := context.WithCancel(t.Context())
	var flood, others sync.WaitGroup
	var greedy atomic.Int64
	use := func(key, sql string) error {
		c, err := p.Acquire(t.Context(), key)
		if err != nil {
			return err
		}
		defer c.Release()
		_, err = c.Conn().Exec(t.Context(), sql)
		return err
	}
	for range 64 {
		flood.Go(func() {
			for ctx.Err() == nil {
				if err := use("greedy", "select pg_sleep(0.05)"); err != nil {
					t.Error(err)
					return
				}
				greedy.Add(1)
			}
		})
	}
	eventually(t, "the flood waits", func() bool { return p.Stat().WaitingRequests() > 50 })
	var most atomic.Int64 // requests of the greedy tenant that came before one of another's
	for i := range 20 {
		others.Go(func() {
			for range 10 {
				before := greedy.Load()
				if err := use(fmt.Sprint("polite ", i), "select 1"); err != nil {
					t.Error(err)
				}
				if n := greedy.Load() - before; n > most.Load() {
					most.Store(n)
				}
			}
		})
	}
	others.Wait()
	stop()
	flood.Wait()
	if n := most.Load(); n > 16 {
		t.Errorf("%d requests of the greedy tenant ended before a request of another tenant", n)
	}
}

func TestStatCountsWhatPgxpoolDoesNotSee(t *testing.T) {
	t.Parallel()
	p := open(t, config(t, 1), fairpool.WithTenantsPerConn(100))
	for range 10 {
		visit(t, p, "a")
	}
	c, answers := take(t, p, "a"), make(chan answer, 1)
	queue(t, p, "b", answers)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		eventually(t, "two wait", func() bool { return p.Stat().WaitingRequests() == 2 })
		cancel()
	}()
	if _, err := p.Acquire(ctx, "c"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if s := p.Stat(); s.IdleConns() != 0 || s.AcquiredConns() != 1 || s.WaitingRequests() != 1 || s.CanceledAcquireCount() != 1 {
		t.Errorf("%d idle, %d in use, %d waiting, %d ended", s.IdleConns(), s.AcquiredConns(), s.WaitingRequests(), s.CanceledAcquireCount())
	}
	c.Release()
	next(t, answers).c.Release()
	s := p.Stat()
	if s.IdleConns() != 1 || s.AcquiredConns() != 0 || s.AcquireCount() != 12 || s.EmptyAcquireCount() != 2 {
		t.Errorf("%d idle, %d in use; %d acquired, %d of them after a wait", s.IdleConns(), s.AcquiredConns(), s.AcquireCount(), s.EmptyAcquireCount())
	}
	if s.EmptyAcquireWaitTime() <= s.Stat.EmptyAcquireWaitTime() || s.AcquireDuration() <= s.Stat.AcquireDuration() {
		t.Error("the wait took no time")
	}
}
