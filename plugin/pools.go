package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/internal/driver"
)

// Pools are the connection pools of many databases on many servers, of which
// only some are open at a time. They are safe for concurrent use.
//
// A pool belongs to a place: a server, a database and a user. It is opened when a
// tenant needs it, by one connection however many requests wait, and closed when
// nobody has used it for a while, or when others need its connections: each
// server has a budget of connections (see [WithBudget]). When that is used up,
// the pool that has not been used for the longest time is closed; if all are in
// use, a connection that nobody uses; if there is none, the next one that is
// given back. Requests wait for it in the order in which they came, those of a
// place that has no connection at all before the others. What is in use is never
// closed.
//
// When a [Database] comes with other credentials than the place was opened with,
// a new pool takes the old one's place, which is closed when the last statement on
// it has ended. A failure to connect is remembered for two seconds, for exactly
// those credentials.
type Pools struct {
	config poolsConfig

	ctx     context.Context // ends with Close: of dials and the janitor
	cancel  context.CancelFunc
	running sync.WaitGroup // what Close waits for: goroutines and open pools
	nudge   chan struct{}  // wakes the janitor before its time

	mu        sync.Mutex // guards what follows and all entries, servers and leases; never held during I/O
	*tables              // behind a pointer, where fmt does not follow to the secrets
	arrivals  uint64     // numbers requests that wait
	attending bool       // the janitor runs
	closed    bool
}

// tables is what [Pools] find by its key.
type tables struct {
	known    map[Database]*entry // the way in, without parsing
	places   map[place]*entry    // one for each place that is open or about to be
	servers  map[string]*server  // stay, with their counts
	failures map[Database]*failure
}

// NewPools returns pools of which none is open. The caller closes them. An error
// is one of the options.
func NewPools(opts ...PoolsOption) (*Pools, error) {
	c, err := newPoolsConfig(opts)
	if err != nil {
		return nil, err
	}
	p := &Pools{
		config: c,
		nudge:  make(chan struct{}, 1),
		tables: &tables{
			known:    map[Database]*entry{},
			places:   map[place]*entry{},
			servers:  map[string]*server{},
			failures: map[Database]*failure{},
		},
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p, nil
}

var errPoolsClosed = errors.New("plugin: the pools are closed")

// Place returns the pool of d, and a Lease of one connection of it that the
// caller must end. The other fields are empty. It opens the pool if need be, and
// waits for a connection of the budget, until ctx ends. On an error nothing is
// held.
func (p *Pools) Place(ctx context.Context, d Database) (Placement, error) {
	return p.PlaceWith(ctx, d, nil)
}

// PlaceWith is Place, and if it is what opens d's pool, before is called before each
// connection of that pool, as pgxpool's BeforeConnect and ahead of the one that
// [WithDatabaseConfig] sets. It gets the configuration of that connection alone, and may
// fetch a password for it, but must not lead to another database or login. Give the same
// function for the same d. nil is none.
func (p *Pools) PlaceWith(ctx context.Context, d Database, before func(context.Context, *pgx.ConnConfig) error) (Placement, error) {
	p.mu.Lock()
	if e := p.known[d]; e != nil && e.spare() > 0 {
		l := e.grant()
		p.mu.Unlock()
		return Placement{Pool: e.pool, Lease: l}, nil
	}
	p.mu.Unlock()
	r, err := p.request(ctx, d, before)
	if err != nil {
		return Placement{}, err
	}
	return p.await(ctx, r)
}

// request queues up for a lease of d's place.
func (p *Pools) request(ctx context.Context, d Database, before func(context.Context, *pgx.ConnConfig) error) (*request, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("plugin: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.refusal(d); err != nil {
		return nil, err
	}
	e := p.known[d]
	if e == nil {
		p.mu.Unlock()
		at, cfg, err := d.locate()
		p.mu.Lock()
		if err != nil {
			return nil, err
		}
		if err := p.refusal(d); err != nil {
			return nil, err
		}
		e = p.entry(d, at, cfg, before)
	}
	p.arrivals++
	r := &request{entry: e, number: p.arrivals, done: make(chan struct{})}
	r.enqueue()
	p.pump(e.server)
	if !r.over() && e.state != dialing {
		e.countWait()
		p.wake()
	}
	return r, nil
}

// refusal returns why nothing can be had for d now. p.mu is held.
func (p *Pools) refusal(d Database) error {
	if p.closed {
		return errPoolsClosed
	}
	return p.remembered(d)
}

// await waits for r's turn.
func (p *Pools) await(ctx context.Context, r *request) (Placement, error) {
	select {
	case <-r.done:
		if r.err != nil {
			return Placement{}, r.err
		}
		return Placement{Pool: r.entry.pool, Lease: r.lease}, nil
	case <-ctx.Done():
		return Placement{}, p.abandon(r, ctx.Err())
	}
}

// abandon takes r back, whatever became of it meanwhile.
func (p *Pools) abandon(r *request, err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := r.entry
	what := "wait for one of the server's connections (see WithBudget, WithConnsPerDatabase) to use"
	if e.state == dialing {
		what = "connect to"
	}
	switch {
	case r.lease != nil:
		e.leases--
		p.returned(e)
	case !r.over():
		r.dequeue()
		p.dropUnopened(e)
		p.pump(e.server)
	}
	return fmt.Errorf("plugin: %s %s: %w", what, e.place, err)
}

// Format writes that p is Pools, and nothing of the credentials in it.
func (p *Pools) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "plugin.Pools") }

// Close closes all pools. It waits up to three seconds for connections in use to be given back, and
// then cuts those of the plugin's statements: a statement at work gets an error. It returns an error
// if a connection or a [Lease] is still not given back one second later. Requests that wait fail, and
// so does Place from then on. It is safe to call Close more than once and from several goroutines.
func (p *Pools) Close() error {
	p.mu.Lock()
	p.closed = true
	p.cancel()
	var prepared []*driver.Prepared
	for _, s := range p.servers {
		for e := range s.entries {
			if e.state == open || e.state == closing && e.pool != nil {
				prepared = append(prepared, e.prepared)
			}
			e.fail(errPoolsClosed)
			p.dropUnopened(e)
			p.retire(e)
		}
	}
	clear(p.failures)
	p.mu.Unlock()
	return driver.AwaitClosed(p.running.Wait, prepared...)
}
