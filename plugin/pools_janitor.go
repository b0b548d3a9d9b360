package plugin

import "time"

// recheck is how soon the janitor looks again while requests wait: nobody tells
// when pgxpool has closed a connection by itself, or ends a dial that was
// abandoned.
const recheck = 5 * time.Millisecond

// attend starts the janitor if it does not run. There is one, while there is
// something to close or to forget.
func (p *Pools) attend() {
	if !p.attending && !p.closed {
		p.attending = true
		p.running.Go(p.janitor)
	}
}

// wake lets the janitor look at once.
func (p *Pools) wake() {
	select {
	case p.nudge <- struct{}{}:
	default: // it is about to look anyway
	}
}

func (p *Pools) janitor() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-p.nudge:
		case <-timer.C:
		}
		next, ok := p.sweep(time.Now())
		if !ok {
			return
		}
		timer.Reset(next)
	}
}

// sweep closes and forgets what has had its time. It returns when to look again,
// and whether there is anything left to look at.
func (p *Pools) sweep(now time.Time) (next time.Duration, more bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next = min(p.config.ttl, failureMemory)
	for d, f := range p.failures {
		if now.After(f.until) {
			delete(p.failures, d)
		}
	}
	for _, s := range p.servers {
		for e := range s.entries {
			next = min(next, p.age(e, now))
		}
		p.pump(s)
		if s.blocked() {
			next = min(next, recheck)
		}
		more = more || len(s.entries) > 0
	}
	p.attending = more || len(p.failures) > 0
	return next, p.attending
}

// blocked reports whether requests wait for others.
func (s *server) blocked() bool {
	for e := range s.queued {
		if e.state != dialing {
			return true
		}
	}
	return false
}

// age closes e's pool if nobody has used it for long enough. It returns when to
// look again.
func (p *Pools) age(e *entry, now time.Time) time.Duration {
	if e.state != open {
		return p.config.ttl
	}
	e.audit()
	if e.leases > 0 || e.queue.Len() > 0 {
		return p.config.ttl
	}
	left := e.lastUsed.Add(p.config.ttl).Sub(now)
	if left <= 0 {
		p.shut(e)
		return p.config.ttl
	}
	return left
}

// audit corrects a number of slots that is smaller than that of the connections:
// while pgxpool looks at an idle one, a lease may open another.
func (e *entry) audit() {
	have := int(e.pool.Stat().IdleConns()) + int(e.held.Load())
	if n := have - e.slots; n > 0 {
		e.server.take(e, -n)
	}
}
