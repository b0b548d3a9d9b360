package plugin

import (
	"context"
	"time"
)

// server is a PostgreSQL server and the slots of its budget: the right to have
// one connection open. They belong to entries or are free. A slot leaves an
// entry only when its connection is closed. [Pools.mu] guards it.
type server struct {
	address string
	gate    gate // has a lock of its own
	free    int  // below 0 while a pool has more connections than slots
	pending int  // slots that become free as soon as a connection is closed

	entries map[*entry]struct{} // that have slots or wait for some
	queued  map[*entry]struct{} // those of them that requests wait for

	need  int    // slots that requests wait for
	first *entry // whose request is the next to have one, or nil

	waits, evictions, dials, dialFailures uint64
}

// take takes n slots away from e, whose connections are closed.
func (s *server) take(e *entry, n int) {
	e.slots -= n
	s.free += n
}

// pump hands out what there is, and makes room for the requests that have to
// wait. It is called after every change that may help one.
func (p *Pools) pump(s *server) {
	if len(s.queued) == 0 && s.free >= 0 {
		s.need, s.first = 0, nil
		return
	}
	for {
		p.allot(s)
		if s.need <= s.pending || !p.reclaim(s) && !p.evict(s) && !p.shrink(s) {
			return
		}
	}
}

// allot gives free slots to the entries whose requests come first.
func (p *Pools) allot(s *server) {
	for s.rank(); s.free > 0 && s.first != nil; s.rank() {
		e := s.first
		s.take(e, -1)
		if e.state == unopened {
			p.startDial(e)
		}
	}
}

// rank serves requests from the slots that their entries have, and finds out
// what is needed for the others.
func (s *server) rank() {
	s.need, s.first = max(0, -s.free), nil
	for e := range s.queued {
		e.serve()
		n := e.lacks()
		s.need += n
		if n > 0 && (s.first == nil || e.before(s.first)) {
			s.first = e
		}
	}
}

// before reports whether e has a slot before o: who has none at all comes first,
// so that a tenant that floods the queue delays its own requests only.
func (e *entry) before(o *entry) bool {
	if none := e.slots == 0; none != (o.slots == 0) {
		return none
	}
	return e.head().number < o.head().number
}

// reclaim takes back the slots that have no connection behind them.
func (p *Pools) reclaim(s *server) bool {
	found := false
	for e := range s.entries {
		if e.state != open || e.leases == e.slots || e.queue.Len() > 0 {
			continue
		}
		if n := e.slots - e.settle(); n > 0 {
			s.take(e, n)
			found = true
			p.shutEmpty(e)
		}
	}
	return found
}

// idles reports whether e has a slot that neither it nor its requests need.
func (e *entry) idles() bool { return e.unused() > 0 && e.queue.Len() == 0 }

// evict closes the pool that nobody has used for the longest time.
func (p *Pools) evict(s *server) bool {
	e := s.oldest(func(e *entry) bool { return e.leases == 0 && e.idles() })
	if e == nil {
		return false
	}
	e.countEviction()
	p.shut(e)
	return true
}

// shrink closes a connection that nobody uses, of a pool in use.
func (p *Pools) shrink(s *server) bool {
	e := s.oldest(func(e *entry) bool { return e.idles() && e.pool.Stat().IdleConns() > 0 })
	if e == nil {
		return false
	}
	e.countEviction()
	e.leases++
	s.pending++
	p.running.Go(func() { p.closeIdle(e) })
	return true
}

// closeIdle closes one connection of e, under a lease.
func (p *Pools) closeIdle(e *entry) {
	ctx, cancel := context.WithTimeout(p.ctx, e.timeout())
	defer cancel()
	conn, err := e.pool.Acquire(ctx)
	if err == nil {
		_ = conn.Conn().Close(ctx) // the socket is closed whatever it returns
		conn.Release()
		e.held.Add(-1)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	e.leases--
	e.server.pending--
	if err == nil {
		e.server.take(e, 1)
	} else {
		e.strays++
		e.settle()
	}
	p.returned(e)
}

// oldest returns the entry that was not used for the longest time, of those
// that fit, or nil.
func (s *server) oldest(fits func(*entry) bool) (found *entry) {
	for e := range s.entries {
		if fits(e) && (found == nil || e.lastUsed.Before(found.lastUsed)) {
			found = e
		}
	}
	return found
}

// returned is called when a lease of e has ended.
func (p *Pools) returned(e *entry) {
	if e.leases == 0 {
		e.lastUsed = time.Now()
		p.shutEmpty(e)
	}
	p.pump(e.server)
}

// shutEmpty closes e's pool if it is of no use: it has no connection and
// nobody waits for one, or it is retired and its last lease has ended.
func (p *Pools) shutEmpty(e *entry) {
	if e.state == open && e.leases == 0 && (e.retired || e.slots == 0 && e.queue.Len() == 0) {
		p.shut(e)
	}
}
