package fairpool

import (
	"context"
	"slices"
	"time"
)

const (
	// knownTime is how long a request waits for a connection that has served its tenant, where all
	// idle connections have served as many other tenants as they may. To open a connection for it,
	// and to read the tenant's tables anew, takes the server longer.
	knownTime = 2 * time.Millisecond

	// mostLooked is how many tenants, from the next in turn on, are looked at to find one that a
	// released connection has served.
	mostLooked = 8

	// mostPassed is how many times a tenant in turn is passed over for one that the connection has
	// served.
	mostPassed = 2
)

// request is a request that waits. Pool.mu guards it until done is closed.
type request[K comparable] struct {
	key      K
	forKnown bool // waits for a connection that has served its tenant: it could have a full one
	since    time.Time
	done     chan struct{} // closed by end
	given    *Conn[K]      // its connection, or nil if it has to ask pgxpool
	err      error
}

func (r *request[K]) end(c *Conn[K], err error) {
	r.given, r.err = c, err
	close(r.done)
}

// line is the waiting requests of one tenant, the oldest first. It is never empty.
type line[K comparable] struct {
	key      K
	requests []*request[K]
	passed   int // times that a tenant behind this one was served before it
}

// enqueue puts a request at the end of its tenant's line, and a tenant that has no line behind all
// others. Pool.mu is held.
func (p *Pool[K]) enqueue(key K, forKnown bool) *request[K] {
	r := &request[K]{key: key, forKnown: forKnown, since: time.Now(), done: make(chan struct{})}
	l := p.lines[key]
	if l == nil {
		l = &line[K]{key: key}
		p.lines[key] = l
		p.turn = append(p.turn, l)
	}
	l.requests = append(l.requests, r)
	return r
}

// dequeue takes r out of its line. It reports whether r was still waiting. Pool.mu is held.
func (p *Pool[K]) dequeue(r *request[K]) bool {
	l := p.lines[r.key]
	if l == nil {
		return false
	}
	at := slices.Index(l.requests, r)
	if at < 0 {
		return false
	}
	l.requests = slices.Delete(l.requests, at, at+1)
	if len(l.requests) == 0 {
		delete(p.lines, r.key)
		at := slices.Index(p.turn, l)
		p.turn = slices.Delete(p.turn, at, at+1)
	}
	return true
}

// grant ends the waiting of the first request of the line at that place in turn, which goes behind all
// others. One request a turn is each tenant's weight. Pool.mu is held.
func (p *Pool[K]) grant(at int, c *Conn[K]) {
	l := p.turn[at]
	r := l.requests[0]
	l.requests[0] = nil
	l.requests, l.passed = l.requests[1:], 0
	p.turn = slices.Delete(p.turn, at, at+1)
	if len(l.requests) > 0 {
		p.turn = append(p.turn, l)
	} else {
		delete(p.lines, l.key)
	}
	p.counted.waits++
	p.counted.waited += time.Since(r.since)
	r.end(c, nil)
}

// next returns the place in turn of the line that a connection goes to, or -1: c, or if it is nil
// any that may be had. Tenants come first that hold less than the smaller share; that is what bounds
// the others while these wait. Pool.mu is held.
func (p *Pool[K]) next(c *Conn[K]) int {
	if at := p.nextBelow(p.contended, c); at >= 0 || p.most == p.contended {
		return at
	}
	return p.nextBelow(p.most, c)
}

// nextBelow is next among the tenants that hold less than limit connections. Of the first few it
// prefers one that c has served, unless one before that was passed over too often already.
func (p *Pool[K]) nextBelow(limit int, c *Conn[K]) int {
	var before [mostLooked]int
	looked := 0
	for at, l := range p.turn {
		if p.held[l.key] >= limit || !p.suits(l.requests[0], c) {
			continue
		}
		if c == nil || c.tenants.Has(l.key) {
			for _, b := range before[:looked] {
				p.turn[b].passed++
			}
			return at
		}
		before[looked] = at
		looked++
		if looked == mostLooked || l.passed == mostPassed {
			break
		}
	}
	if looked == 0 {
		return -1
	}
	return before[0]
}

// suits reports whether r takes c, or if c is nil, any that may be had. A request that waits for a
// connection that has served its tenant takes another with room, too. Pool.mu is held.
func (p *Pool[K]) suits(r *request[K], c *Conn[K]) bool {
	switch {
	case !r.forKnown:
		return true
	case c == nil:
		return p.slots < p.max
	}
	return c.tenants.hasRoom() || c.tenants.Has(r.key)
}

// dispatch lets waiting requests go on, in turn, as long as there are connections for them. Pool.mu
// is held.
func (p *Pool[K]) dispatch() {
	for {
		at := p.next(nil)
		if at < 0 {
			return
		}
		c, next := p.choose(p.turn[at].key, false)
		if next == wait {
			return
		}
		p.grant(at, c)
	}
}

// await waits until r has its turn, ctx ends or the pool is closed.
func (p *Pool[K]) await(ctx context.Context, r *request[K]) error {
	var impatient <-chan time.Time
	if r.forKnown {
		timer := time.NewTimer(knownTime)
		defer timer.Stop()
		impatient = timer.C
	}
	for {
		select {
		case <-r.done:
			return r.err
		case <-impatient:
			p.mu.Lock()
			r.forKnown = false
			p.dispatch()
			p.mu.Unlock()
		case <-ctx.Done():
			p.leave(r)
			return ctx.Err()
		}
	}
}

// leave takes back a request whose context has ended. What it was given meanwhile goes to the next.
func (p *Pool[K]) leave(r *request[K]) {
	p.mu.Lock()
	p.counted.canceled++
	waiting := p.dequeue(r)
	if !waiting && r.err == nil && r.given == nil {
		p.stopAsking(r.key)
		p.dispatch()
	}
	p.mu.Unlock()
	if !waiting && r.given != nil {
		p.release(r.given)
	}
}
