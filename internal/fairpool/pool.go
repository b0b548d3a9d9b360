package fairpool

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// hotTime is how long a connection lies unused in the hot list before it is given back to
	// pgxpool: pgxpool pings a connection that was idle for longer.
	hotTime = time.Second

	// growPause is how long idle connections have to do after one more could not be opened.
	growPause = time.Second
)

// ErrClosed is returned by Acquire when the pool is closed.
var ErrClosed = errors.New("the pool of connections is closed")

// Pool shares the connections of a pgxpool among tenants, which are told apart by keys. It is
// safe for concurrent use.
type Pool[K comparable] struct {
	pgx             *pgxpool.Pool
	acquire         func(context.Context, *pgxpool.Pool) (Acquired, error)
	max             int // connections
	most, contended int // that a tenant may hold; while others wait
	keepsHot        bool
	lifetime        time.Duration

	mu     sync.Mutex // guards the fields below, and what Conn says; never held during I/O
	closed bool
	conns  []*Conn[K] // taken from pgxpool: in use or hot
	hot    []*Conn[K] // idle, the one that was used last at the end
	slots  int        // connections of pgxpool that are in use or hot, or that requests ask for
	asking int        // requests that ask pgxpool for a connection
	held   map[K]int  // connections that each tenant's requests have or ask for
	paused time.Time  // until then no connection is opened while others are idle
	timer  *time.Timer
	timing bool // the timer runs

	lines   map[K]*line[K] // waiting requests
	turn    []*line[K]     // the same, the next one first
	counted counts
}

// HasHooks reports whether functions or tracers of cfg are called when a connection is taken from
// pgxpool or given back. A pool of such a configuration has no hot list: they see each use.
func HasHooks(cfg *pgxpool.Config) bool {
	_, acquires := cfg.ConnConfig.Tracer.(pgxpool.AcquireTracer)
	_, releases := cfg.ConnConfig.Tracer.(pgxpool.ReleaseTracer)
	return acquires || releases || cfg.PrepareConn != nil || cfg.AfterRelease != nil || cfg.ShouldPing != nil ||
		cfg.BeforeAcquire != nil //nolint:staticcheck // pgxpool calls BeforeAcquire, deprecated or not
}

// Open opens a pgxpool with cfg, which it does not change, and shares it among tenants. It dials
// as pgxpool does: in the background, for MinConns. Close the pool.
func Open[K comparable](ctx context.Context, cfg *pgxpool.Config, opts ...Option) (*Pool[K], error) {
	c := config{most: 0.75, contended: 0.5, acquire: acquire}
	for _, opt := range opts {
		if err := opt(&c); err != nil {
			return nil, err
		}
	}
	cfg = cfg.Copy()
	p := &Pool[K]{
		acquire: c.acquire, keepsHot: !HasHooks(cfg), lifetime: cfg.MaxConnLifetime,
		max: int(cfg.MaxConns), most: share(c.most, cfg.MaxConns), contended: share(c.contended, cfg.MaxConns),
		held: map[K]int{}, lines: map[K]*line[K]{},
	}
	connected := cfg.AfterConnect
	cfg.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		conn.PgConn().CustomData()[recordKey] = &record[K]{opened: time.Now(), tenants: NewTenants[K](c.tenantsPerConn)}
		if connected != nil {
			return connected(ctx, conn)
		}
		return nil
	}
	if p.keepsHot {
		cfg.ShouldPing = func(_ context.Context, s pgxpool.ShouldPingParams) bool {
			return s.IdleDuration+recordOf[K](s.Conn).lay > hotTime
		}
	}
	var err error
	if p.pgx, err = pgxpool.NewWithConfig(ctx, cfg); err != nil {
		return nil, err
	}
	return p, nil
}

// share is a fraction of the connections.
func share(fraction float64, conns int32) int {
	return max(1, int(math.Ceil(fraction*float64(conns))))
}

// Pgx returns the pgxpool below, which Close closes. Whoever acquires a connection from it directly has
// no turn: where all are in use or hot, it waits until one was unused for a second.
func (p *Pool[K]) Pgx() *pgxpool.Pool { return p.pgx }

// Acquire returns a connection for a request of key's tenant. It waits where the tenant holds its
// share of the connections, or all connections are in use. Errors of opening a connection are
// returned to the request that asked for it, unless an idle connection can serve the request.
// When ctx ends, Acquire returns its error; when the pool is closed, [ErrClosed].
func (p *Pool[K]) Acquire(ctx context.Context, key K) (*Conn[K], error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, ErrClosed
	}
	c, next := p.choose(key, true)
	var r *request[K]
	if next == wait || next == waitForKnown {
		r = p.enqueue(key, next == waitForKnown)
	}
	p.mu.Unlock()
	if r != nil {
		if err := p.await(ctx, r); err != nil {
			return nil, err
		}
		c = r.given
	}
	if c != nil {
		return c, nil
	}
	return p.ask(ctx, key)
}

// step is what a request does next.
type step int

const (
	run          step = iota // on the connection that was chosen
	askPgx                   // for a connection
	wait                     // for its turn
	waitForKnown             // the same, but for a short time only; then a full connection is chosen
)

// choose decides what a request does next, and counts it as its tenant's. A patient request waits for
// a connection that has served its tenant, if it could only have a full one. Pool.mu is held.
func (p *Pool[K]) choose(key K, patient bool) (*Conn[K], step) {
	if p.held[key] >= p.most {
		return nil, wait
	}
	mayGrow := p.slots < p.max
	c := p.bestIdle(key)
	switch {
	case c == nil && !mayGrow:
		return nil, wait
	case c == nil:
		return nil, p.startAsking(key)
	case c.tenants.Has(key):
	case mayGrow && c.tenants.isCrowded() && time.Now().After(p.paused):
		return nil, p.startAsking(key)
	case !mayGrow && patient && !c.tenants.hasRoom() && p.isKnown(key):
		return nil, waitForKnown
	}
	p.takeHot(c, key)
	return c, run
}

// bestIdle returns the hot connection that a request of key should have: the last used of those that
// have served the tenant; else the last used that has room, or the emptiest if that has served much
// less; else the emptiest of the full ones. It returns nil if the list is empty. Pool.mu is held.
func (p *Pool[K]) bestIdle(key K) *Conn[K] {
	var last, emptiest *Conn[K]
	for _, c := range slices.Backward(p.hot) {
		if c.tenants.Has(key) {
			return c
		}
		if last == nil && c.tenants.hasRoom() {
			last = c
		}
		if emptiest == nil || c.tenants.isEmptier(&emptiest.tenants) {
			emptiest = c
		}
	}
	if last == nil || last.tenants.isAhead(&emptiest.tenants) {
		return emptiest
	}
	return last
}

// isKnown reports whether a connection has served key's tenant. Pool.mu is held.
func (p *Pool[K]) isKnown(key K) bool {
	return slices.ContainsFunc(p.conns, func(c *Conn[K]) bool { return c.tenants.Has(key) })
}

// takeHot gives the hot connection c to a request of key's tenant. Pool.mu is held.
func (p *Pool[K]) takeHot(c *Conn[K], key K) {
	at := slices.Index(p.hot, c)
	p.hot = slices.Delete(p.hot, at, at+1)
	p.start(c, key)
}

// start gives c to a request of key's tenant. Pool.mu is held.
func (p *Pool[K]) start(c *Conn[K], key K) {
	c.key = key
	c.tenants.Add(key)
	p.held[key]++
	p.counted.reused++
}

// startAsking lets a request of key's tenant ask pgxpool. Pool.mu is held.
func (p *Pool[K]) startAsking(key K) step {
	p.slots++
	p.asking++
	p.held[key]++
	return askPgx
}

// end notes that a request of key's tenant has one connection less. Pool.mu is held.
func (p *Pool[K]) end(key K) {
	p.held[key]--
	if p.held[key] == 0 {
		delete(p.held, key)
	}
}

// ask takes a connection from pgxpool, which opens one if none is idle there, for a request that
// startAsking was called for. If that fails and a connection is idle, it gets that one.
func (p *Pool[K]) ask(ctx context.Context, key K) (*Conn[K], error) {
	from, err := p.acquire(ctx, p.pgx)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.stopAsking(key)
		defer p.dispatch()
		c := p.bestIdle(key)
		if c == nil || ctx.Err() != nil {
			return nil, err
		}
		p.paused = time.Now().Add(growPause)
		p.takeHot(c, key)
		return c, nil
	}
	p.asking--
	c := &Conn[K]{pool: p, from: from, record: recordOf[K](from.Conn()), key: key}
	c.lay = 0
	c.tenants.Add(key)
	p.conns = append(p.conns, c)
	return c, nil
}

// stopAsking undoes startAsking. Pool.mu is held.
func (p *Pool[K]) stopAsking(key K) {
	p.slots--
	p.asking--
	p.end(key)
}

// release takes back what a request had: for the next in turn, for the hot list, or for pgxpool. While
// a request asks pgxpool, pgxpool gets every connection: what the request waits for there may be in
// the hands of somebody who has no turn here.
func (p *Pool[K]) release(c *Conn[K]) {
	keep := p.keepsHot && c.isUsable(p.lifetime)
	p.mu.Lock()
	p.end(c.key)
	if !keep || p.closed || p.asking > 0 {
		p.mu.Unlock()
		p.giveBack(c)
		return
	}
	defer p.mu.Unlock()
	if at := p.next(c); at >= 0 {
		p.start(c, p.turn[at].key)
		p.grant(at, c)
		return
	}
	c.since = time.Now()
	p.hot = append(p.hot, c)
	p.startTimer()
}

// giveBack gives connections back to pgxpool, which keeps or closes them, and lets waiting requests ask
// for others.
func (p *Pool[K]) giveBack(conns ...*Conn[K]) {
	for _, c := range conns {
		c.from.Release()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns = slices.DeleteFunc(p.conns, func(c *Conn[K]) bool { return slices.Contains(conns, c) })
	p.slots -= len(conns)
	p.dispatch()
}

// startTimer makes sure that hot connections are given back. Pool.mu is held.
func (p *Pool[K]) startTimer() {
	switch {
	case p.timer == nil:
		p.timer = time.AfterFunc(hotTime, p.cool)
	case !p.timing:
		p.timer.Reset(hotTime)
	}
	p.timing = true
}

// cool gives hot connections back to pgxpool that were not used for hotTime.
func (p *Pool[K]) cool() {
	p.mu.Lock()
	var cold []*Conn[K]
	for len(p.hot) > 0 && time.Since(p.hot[0].since) >= hotTime {
		cold = append(cold, p.popHot())
	}
	p.timing = len(p.hot) > 0
	if p.timing {
		p.timer.Reset(hotTime - time.Since(p.hot[0].since))
	}
	p.mu.Unlock()
	p.giveBack(cold...)
}

// popHot takes the connection out of the hot list that was unused for longest. Pool.mu is held.
func (p *Pool[K]) popHot() *Conn[K] {
	c := p.hot[0]
	p.hot = slices.Delete(p.hot, 0, 1)
	c.lay = time.Since(c.since)
	return c
}

// Close ends the waiting of all requests with [ErrClosed], and closes the pgxpool. It waits until
// all connections are released. It is safe to call more than once.
func (p *Pool[K]) Close() {
	p.mu.Lock()
	p.closed = true
	for _, l := range p.turn {
		for _, r := range l.requests {
			r.end(nil, ErrClosed)
		}
	}
	p.lines, p.turn = nil, nil
	if p.timing {
		p.timer.Stop()
	}
	var hot []*Conn[K]
	for len(p.hot) > 0 {
		hot = append(hot, p.popHot())
	}
	p.mu.Unlock()
	p.giveBack(hot...)
	p.pgx.Close()
}
