package driver

import (
	"cmp"
	"container/list"
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Affinity gives tenants connections of one pool that have served them before. What
// a server process has read of a tenant's tables it keeps, and never gives back: the
// second connection that serves a tenant costs its memory once more, and the time to
// read it.
//
// The connections stay pgxpool's, with its lifetimes, checks and limits. Affinity
// decides who has the next one, and brings the wanted one to the top of the idle. A
// request whose tenant's connections are all in use waits for them for a moment, but
// takes another before long. Where requests queue up, a connection goes to the first
// of them that it has served, unless that would pass over another one too often.
//
// It is safe for concurrent use.
type Affinity struct {
	limit    int           // tenants that a connection serves; 0 is any number
	max      int           // connections of the pool
	min      int           // of them, those that stay when they are idle
	idleTime time.Duration // after which the others are closed
	pingTime time.Duration // after which a connection that does not answer is given up; 0 is never
	chooses  bool          // no hook of the user's sees which connection is taken when

	mu     sync.Mutex // guards what follows, and what links have of the same; never held during I/O
	busy   int        // connections that requests have, or are about to have
	taking int        // requests of these that are at the pool for one
	gave   bool       // the last connection that came back went to the pool for their sake
	idle   []*link    // as they lie in the pool, the one to be taken next last
	homes  map[Scope]*home
	queue  list.List // of *waiter, in the order of their coming
	raised time.Time // when idle connections were moved
}

// home is where a tenant has been served.
type home struct {
	links  []*link       // the last one first
	waited time.Duration // for them, since the last was added
}

// attachment is what a link has to do with tenants. [Affinity.mu] guards it.
type attachment struct {
	served map[Scope]struct{}
	bound  int       // so many tenants at the most; 0 is any number
	used   time.Time // when it was opened or given back
	taken  bool      // or closed; what is not taken is in idle
}

// newAffinity returns the affinity of the pool that is opened with cfg.
func newAffinity(cfg *pgxpool.Config, limit int) *Affinity {
	_, traced := cfg.ConnConfig.Tracer.(pgxpool.ReleaseTracer) // would see what is only moved
	return &Affinity{
		limit: limit, max: int(cfg.MaxConns), min: int(max(cfg.MinConns, cfg.MinIdleConns)), pingTime: cfg.PingTimeout, idleTime: cfg.MaxConnIdleTime,
		//nolint:staticcheck // pgxpool calls BeforeAcquire, deprecated or not
		chooses: limit > 0 && !traced && cfg.PrepareConn == nil && cfg.BeforeAcquire == nil && cfg.AfterRelease == nil && cfg.ShouldPing == nil,
		homes:   map[Scope]*home{},
	}
}

// bound is how many tenants the next connection may serve. They differ a little, so
// that the connections of a pool are not all closed at the same time.
func (a *Affinity) bound() int {
	if a.limit == 0 {
		return 0
	}
	return a.limit - rand.IntN(a.limit/4+1) //nolint:gosec // no secret
}

// acquire returns a connection for s. The caller gives it back by release.
func (a *Affinity) acquire(ctx context.Context, pool *pgxpool.Pool, s Scope) (checkout, error) {
	a.mu.Lock()
	if w := a.enter(s); w != nil {
		a.mu.Unlock()
		if err := a.await(ctx, w); err != nil {
			return checkout{}, err
		}
		if w.given.std != nil {
			return w.given, nil
		}
		a.mu.Lock()
	}
	c, err := a.connect(ctx, pool, s)
	a.taking--
	if err != nil {
		a.busy--
		a.serve()
	} else {
		a.attach(linkOf(c), s)
		c.lender = a
	}
	a.mu.Unlock()
	return c, err
}

// enter lets a request in, or returns what it has to wait with.
func (a *Affinity) enter(s Scope) *waiter {
	h := a.homes[s]
	switch {
	case a.busy >= a.max:
		return a.enqueue(s, !h.worthWaiting())
	case 2*a.busy >= a.max && h.worthWaiting() && h.idle() == nil:
		return a.enqueue(s, false) // with fewer in use, a wait is seen and a second connection is not
	}
	a.let()
	return nil
}

// let lets a request go to the pool.
func (a *Affinity) let() {
	a.busy++
	a.taking++
}

// connect takes a connection from the pool for a request that was let in: one that has
// served s, or else the one that has served the fewest. It gives up the mutex meanwhile.
func (a *Affinity) connect(ctx context.Context, pool *pgxpool.Pool, s Scope) (checkout, error) {
	for {
		c, err := a.prefer(ctx, pool, s)
		if err != nil || !a.unsure(linkOf(c)) {
			return c, err
		}
		a.mu.Unlock()
		dead := a.ping(ctx, c) != nil && ctx.Err() == nil
		if dead {
			_ = c.Conn().Close(ctx) // the socket is closed whatever it returns
			_ = c.lay()             // the pool sees that it is closed
		}
		a.mu.Lock()
		if !dead {
			return c, nil
		}
	}
}

// prefer takes the connection that s is to have, if the pool is as it looks. It gives up
// the mutex meanwhile.
func (a *Affinity) prefer(ctx context.Context, pool *pgxpool.Pool, s Scope) (checkout, error) {
	l := a.favourite(s)
	if l != nil && l.filled(s, crowd) && int(pool.Stat().TotalConns()) < a.max {
		held := pool.AcquireAllIdle(context.Background()) // without hooks it does not block
		a.mu.Unlock()
		c, err := a.dial(ctx, pool, held)
		a.mu.Lock()
		if err == nil || ctx.Err() != nil {
			return c, err
		}
		l = a.favourite(s) // without one more, those that there are have to do
	}
	stale := a.raise(pool, a.warmer(s, l))
	a.mu.Unlock()
	for _, c := range stale {
		_ = c.Conn().Close(ctx) // the socket is closed whatever it returns
		c.Release()
	}
	c, err := reconnect(ctx, pool)
	a.mu.Lock()
	return c, err
}

// crowd is the part of the tenants that it may serve with which a connection is crowded: what it
// keeps of each would soon be in each other's way, so the next one gets another, as long
// as the pool may open one.
const crowd = 4

// uneven is the part of the tenants that it may serve by which the connection that was used last
// may be ahead of the one with the fewest, and still get the next tenant.
const uneven = 16

// warmer returns the connection that was used last in place of l, if s is new to both and it has
// served hardly more tenants: the pool hands it out as it is, and the processor still has what
// its backend works with. Tenants that come one after the other then share one.
func (a *Affinity) warmer(s Scope, l *link) *link {
	if l == nil {
		return nil
	}
	last := a.idle[len(a.idle)-1] // l is one of them
	if _, served := l.served[s]; served || last.filled(s, 1) || uneven*(len(last.served)-len(l.served)) > last.bound {
		return l
	}
	return last
}

// filled reports whether l has served one part in so many of the tenants that it may, and s
// would be one more.
func (l *link) filled(s Scope, part int) bool {
	_, served := l.served[s]
	return !served && l.bound > 0 && part*len(l.served) >= l.bound
}

// dial opens one more connection, although there are idle ones. They are held until it
// is on its way, as a pool opens a connection only if it has none; and for a moment at
// the most, in case that somebody else has opened the last one meanwhile.
func (a *Affinity) dial(ctx context.Context, pool *pgxpool.Pool, held []*pgxpool.Conn) (checkout, error) {
	giveBack := sync.OnceFunc(func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		slices.Reverse(held) // they come from the top
		for _, c := range held {
			a.lay(c)
		}
		a.raised = time.Now()
	})
	defer giveBack()
	defer time.AfterFunc(holdFor, giveBack).Stop()
	return connect(context.WithValue(ctx, dialing{}, giveBack), pool)
}

// holdFor is how long idle connections are held at the most.
const holdFor = time.Millisecond

// dialing is the context key of a function that is called as soon as the pool opens a
// connection.
type dialing struct{}

// favourite returns the idle connection that s is to have, or nil if there is none.
func (a *Affinity) favourite(s Scope) *link {
	if l := a.homes[s].idle(); l != nil {
		return l
	}
	if len(a.idle) == 0 {
		return nil
	}
	return slices.MinFunc(a.idle, func(l, m *link) int {
		if l.filled(s, 1) != m.filled(s, 1) {
			return cmp.Compare(len(l.served)-l.bound, len(m.served)-m.bound)
		}
		return cmp.Compare(len(l.served), len(m.served))
	})
}

// idle returns the connection of h that is idle and was used last, or nil.
func (h *home) idle() *link {
	if h == nil {
		return nil
	}
	for _, l := range h.links {
		if !l.taken {
			return l
		}
	}
	return nil
}

// raise makes l the connection that the pool hands out next. To the pool all that are
// idle then look as if they were used just now; so those that it would have closed for
// having been idle too long are returned, for the caller to close.
func (a *Affinity) raise(pool *pgxpool.Pool, l *link) (stale []*pgxpool.Conn) {
	if l == nil || a.idle[len(a.idle)-1] == l { // what favourite and warmer return is in idle
		return nil
	}
	all := pool.AcquireAllIdle(context.Background()) // without hooks it does not block
	slices.Reverse(all)                              // they come from the top
	a.raised = time.Now()
	var top *pgxpool.Conn
	spare := len(all) + a.busy - a.min
	for _, c := range all {
		m := linkOf(c)
		switch {
		case m == l:
			top = c
		case m != nil && spare > 0 && a.raised.Sub(m.used) > a.idleTime:
			stale = append(stale, c)
			spare--
		default:
			a.lay(c)
		}
	}
	if top != nil {
		a.lay(top)
	}
	return stale
}

// lay gives an idle connection back to the pool.
func (a *Affinity) lay(c *pgxpool.Conn) {
	if l := linkOf(c); l != nil && !l.taken {
		a.unlist(l)
		a.idle = append(a.idle, l)
	}
	c.Release()
}

// unlist takes l out of the idle.
func (a *Affinity) unlist(l *link) {
	if i := slices.Index(a.idle, l); i >= 0 {
		a.idle = slices.Delete(a.idle, i, i+1)
	}
}

// unsure reports whether a connection was idle for so long that pgxpool would have
// looked whether it still answers, if it had not been moved meanwhile.
func (a *Affinity) unsure(l *link) bool {
	return a.raised.After(l.used) && time.Since(l.used) > time.Second
}

// ping asks a connection for a sign of life, as pgxpool would.
func (a *Affinity) ping(ctx context.Context, c checkout) error {
	if a.pingTime > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, a.pingTime)
		defer cancel()
	}
	return c.Conn().Ping(ctx)
}

// counts notes that l serves s, for somebody who has taken it as it came.
func (a *Affinity) counts(l *link, s Scope) {
	if a.limit == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	l.served[s] = struct{}{}
}

// attach notes that l was taken for s.
func (a *Affinity) attach(l *link, s Scope) {
	l.taken = true
	a.unlist(l)
	l.served[s] = struct{}{}
	h := a.homes[s]
	if h == nil {
		h = &home{}
		a.homes[s] = h
	}
	at := slices.Index(h.links, l)
	if at < 0 {
		h.waited = 0
		h.links = slices.Insert(h.links, 0, l)
		return
	}
	copy(h.links[1:at+1], h.links[:at])
	h.links[0] = l
}

// release takes a connection back that acquire has returned.
func (a *Affinity) release(c checkout) error {
	l := linkOf(c) // all connections of the base pool have one
	a.mu.Lock()
	l.used = time.Now()
	if w := a.next(l, c); w != nil {
		a.mu.Unlock()
		return nil
	}
	a.busy--
	if !c.Conn().IsClosed() {
		l.taken = false
		a.idle = append(a.idle, l)
	}
	a.serve()
	a.mu.Unlock()
	return c.lay()
}

// full reports whether l has served as many tenants as it may. It is asked by whom l was
// lent to: nobody else adds to them.
func (l *link) full() bool { return l.bound > 0 && len(l.served) > l.bound }

// forget is called when a connection is closed.
func (a *Affinity) forget(l *link) {
	a.mu.Lock()
	defer a.mu.Unlock()
	l.taken = true // whoever still knows it can't have it
	a.unlist(l)
	for s := range l.served {
		h := a.homes[s]
		if h == nil {
			continue // nobody chose
		}
		if i := slices.Index(h.links, l); i >= 0 {
			h.links = slices.Delete(h.links, i, i+1)
		}
		if len(h.links) == 0 {
			delete(a.homes, s)
		}
	}
	l.served = nil
}
