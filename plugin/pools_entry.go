package plugin

import (
	"container/list"
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/internal/driver"
)

// state is how far an entry has come.
type state int

const (
	unopened state = iota // waits for a slot to dial with
	dialing
	open
	closing
)

// entry is the pool of one place. [Pools.mu] guards it.
type entry struct {
	pools    *Pools
	server   *server
	place    place
	database Database
	config   *pgxpool.Config  // until it is dialed
	pool     *pgxpool.Pool    // from then on
	prepared *driver.Prepared // its own
	state    state
	retired  bool // takes no more leases, and closes with the last

	// hook is called before each connection. It may be nil.
	hook func(context.Context, *pgx.ConnConfig) error

	slots  int          // connections of the server's budget that are this pool's; it has no more than that
	leases int          // slots in use
	strays int          // slots whose request gave up while the pool went on connecting
	held   atomic.Int64 // connections that leases have; counted by the pool's hook, without the mutex

	queue    list.List // of *request, in the order of their numbers
	lastUsed time.Time

	waits, evictions uint64
	dials            atomic.Uint64 // as held
}

// spare returns how many leases can be had at once.
func (e *entry) spare() int {
	if e.retired {
		return 0
	}
	return e.unused()
}

// unused returns how many slots are not in use.
func (e *entry) unused() int {
	if e.state != open {
		return 0
	}
	return e.slots - e.leases - e.strays
}

// lacks returns how many of the waiting requests could use another slot.
func (e *entry) lacks() int {
	switch e.state {
	case unopened:
		return min(1, e.queue.Len())
	case open:
		return max(0, min(e.queue.Len(), e.pools.config.perPlace-e.slots))
	default: // dialing: the requests wait for that
		return 0
	}
}

func (e *entry) grant() *poolLease {
	e.leases++
	return &poolLease{entry: e}
}

// serve gives the waiting requests the leases that can be had.
func (e *entry) serve() {
	if e.strays > 0 {
		e.settle()
	}
	for e.queue.Len() > 0 && e.spare() > 0 {
		r := e.head()
		r.lease = e.grant()
		r.finish()
	}
}

// fail ends the waiting requests.
func (e *entry) fail(err error) {
	for e.queue.Len() > 0 {
		r := e.head()
		r.err = err
		r.finish()
	}
}

func (e *entry) head() *request {
	return e.queue.Front().Value.(*request) //nolint:forcetypeassert // the queue holds nothing else
}

// settle looks how many connections the pool really has: it closes idle ones by
// itself, and it goes on connecting for a request that gave up, which leaves a
// connection where a slot looks unused. It returns how many slots are needed: one
// for each connection, and for each lease, which may yet open one.
func (e *entry) settle() int {
	stat := e.pool.Stat()
	strange := int(stat.TotalConns()-stat.IdleConns()) - int(e.held.Load())
	e.strays = min(e.strays, max(0, strange))
	return max(int(stat.TotalConns()), e.leases+e.strays)
}

// countWait notes that a request has to wait for others.
func (e *entry) countWait() {
	e.waits++
	e.server.waits++
}

// countEviction notes that e loses connections to another place.
func (e *entry) countEviction() {
	e.evictions++
	e.server.evictions++
}

// request waits for a lease.
type request struct {
	entry    *entry
	number   uint64
	position *list.Element // in the entry's queue, until it is over
	done     chan struct{} // closed when it is over

	lease *poolLease // one of these is set then
	err   error
}

func (r *request) enqueue() {
	r.position = r.entry.queue.PushBack(r)
	r.entry.server.queued[r.entry] = struct{}{}
}

func (r *request) dequeue() {
	r.entry.queue.Remove(r.position)
	r.position = nil
	if r.entry.queue.Len() == 0 {
		delete(r.entry.server.queued, r.entry)
	}
}

func (r *request) finish() {
	r.dequeue()
	close(r.done)
}

func (r *request) over() bool { return r.position == nil }

// poolLease is the right to one connection of an entry's pool.
type poolLease struct {
	entry    *entry
	kept     bool // Keep was called: there was a connection
	yielded  bool // the connection is closed, and its slot goes to another place
	released bool
}

var _ Lease = (*poolLease)(nil)

// Keep tells the caller to close the connection if another place waits for one.
func (l *poolLease) Keep() bool {
	e := l.entry
	e.pools.mu.Lock()
	defer e.pools.mu.Unlock()
	e.held.Add(-1)
	l.kept = true
	if l.yielded = e.mustYield(); l.yielded {
		e.server.pending++
		if !e.retired {
			e.countEviction()
		}
	}
	return !l.yielded
}

// mustYield reports whether e's connection is needed elsewhere, and no other is
// on its way. If e's own request comes first, it has the lease next.
func (e *entry) mustYield() bool {
	s := e.server
	return e.retired || s.need > s.pending && s.first != e
}

// Format writes the place, and nothing of the credentials.
func (l *poolLease) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "lease of "+l.entry.place.String())
}

// Release gives the lease back.
func (l *poolLease) Release() {
	e := l.entry
	p := e.pools
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.released {
		return
	}
	l.released = true
	e.leases--
	switch {
	case l.yielded:
		e.server.pending--
		e.server.take(e, 1)
	case !l.kept: // the pool may still be connecting for it
		e.strays++
		e.settle()
	}
	p.returned(e)
}
