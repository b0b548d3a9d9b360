package driver

import (
	"container/list"
	"context"
	"time"
)

const (
	// patience is how long a request waits for a connection that has served its tenant
	// while it could have another. Where most are in use, to read a tenant's tables anew
	// takes the server about as long.
	patience = 2 * time.Millisecond

	// patienceOfHome is how long the requests of one tenant wait so all together before
	// one more connection serves it.
	patienceOfHome = 20 * time.Millisecond

	// mostPassed is how many others may get a connection before a request that came
	// before them, for each connection of the pool.
	mostPassed = 2

	// mostLooked is how many of the first waiting requests are looked at to find one for
	// a connection.
	mostLooked = 64
)

// waiter is a request that waits for a connection. [Affinity.mu] guards it.
type waiter struct {
	scope    Scope
	any      bool // takes whichever comes first
	since    time.Time
	passed   int           // how many came later and were served before
	position *list.Element // in the queue, until it is over
	done     chan struct{} // closed when it is over
	given    checkout      // the connection that it has; none if it may take one from the pool
}

// worthWaiting reports whether there are connections that a request should wait for.
func (h *home) worthWaiting() bool {
	return h != nil && len(h.links) > 0 && h.waited < patienceOfHome
}

func (a *Affinity) enqueue(s Scope, any bool) *waiter {
	w := &waiter{scope: s, any: any, since: time.Now(), done: make(chan struct{})}
	w.position = a.queue.PushBack(w)
	return w
}

// grant ends the waiting. Those that wait for longer were passed.
func (a *Affinity) grant(w *waiter) {
	for e := a.queue.Front(); e != w.position; e = e.Next() {
		e.Value.(*waiter).passed++ //nolint:forcetypeassert // the queue holds nothing else
	}
	a.queue.Remove(w.position)
	w.position = nil
	if h := a.homes[w.scope]; h != nil && !w.any {
		h.waited += time.Since(w.since)
	}
	close(w.done)
}

// await waits until w is over, or ctx has ended.
func (a *Affinity) await(ctx context.Context, w *waiter) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case <-w.done:
			return nil
		case <-timer.C:
			a.giveIn(w)
		case <-ctx.Done():
			return a.leave(ctx, w)
		}
	}
}

// giveIn is called when w has waited for its tenant's connections long enough.
func (a *Affinity) giveIn(w *waiter) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if w.position == nil || w.any {
		return
	}
	w.any = true
	if h := a.homes[w.scope]; h != nil {
		h.waited += time.Since(w.since)
	}
	a.serve()
}

// leave takes w out. What it was given meanwhile goes to the next.
func (a *Affinity) leave(ctx context.Context, w *waiter) error {
	a.mu.Lock()
	if w.position != nil {
		a.queue.Remove(w.position)
		w.position = nil
		a.mu.Unlock()
		return ctx.Err()
	}
	if w.given.std == nil {
		a.busy--
		a.taking--
		a.serve()
		a.mu.Unlock()
		return ctx.Err()
	}
	a.mu.Unlock()
	_ = a.release(w.given) // it is as good as before
	return ctx.Err()
}

// serve lets the first requests take connections from the pool, as far as there are
// any.
func (a *Affinity) serve() {
	for e := a.queue.Front(); e != nil && a.busy < a.max; {
		w := e.Value.(*waiter) //nolint:forcetypeassert // the queue holds nothing else
		e = e.Next()
		if w.any {
			a.let()
			a.grant(w)
		}
	}
}

// next gives l to the request that is to have it, or returns nil if it is better off in
// the pool.
func (a *Affinity) next(l *link, c checkout) *waiter {
	if a.queue.Len() == 0 || !l.usable(c.Conn()) {
		return nil
	}
	// Who is at the pool waits there, if somebody else has the connections that are
	// missing here. Each second one is for them.
	if a.gave = a.taking > 0 && !a.gave; a.gave {
		return nil
	}
	w := a.choose(l)
	if w != nil {
		w.given = c
		a.attach(l, w.scope)
		a.grant(w)
	}
	return w
}

// choose returns the request that l goes to: the first that l has served, unless the
// first of all was passed too often; else the first that takes any.
func (a *Affinity) choose(l *link) (found *waiter) {
	looked := 0
	for e := a.queue.Front(); e != nil && looked < mostLooked; e, looked = e.Next(), looked+1 {
		w := e.Value.(*waiter) //nolint:forcetypeassert // the queue holds nothing else
		if _, served := l.served[w.scope]; served {
			return w
		}
		if w.any && found == nil {
			found = w
			if w.passed >= mostPassed*a.max {
				return w
			}
		}
	}
	return found
}
