package driver

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// CloseGrace is how long closing waits for statements at work, and for rows and transactions
	// that are open.
	CloseGrace = 3 * time.Second

	// cutGrace is how long those who have a connection may take to give it back, once it is cut.
	cutGrace = time.Second
)

var errLeft = errors.New("tenantry: closed, but somebody has not closed rows, a transaction or a connection: the connection to the server was cut")

// Prepared is a pool that [PreparePool] has prepared. It is safe for concurrent use.
type Prepared struct {
	mu    sync.Mutex // guards links; never held during I/O
	links map[*link]struct{}
}

// opened notes a connection that is lent for the first time.
func (p *Prepared) opened(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.links[l] = struct{}{}
}

// closed is called when a connection is closed.
func (p *Prepared) closed(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
}

// lent returns the leases of the pool's connections.
func (p *Prepared) lent() (all []*lease) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		if held := l.lease.Load(); held != nil {
			all = append(all, held)
		}
	}
	return all
}

// Close closes pool, which was opened with the prepared configuration, as [AwaitClosed] says.
func (p *Prepared) Close(pool *pgxpool.Pool) error {
	return AwaitClosed(pool.Close, p)
}

// AwaitClosed calls wait, which returns when all connections of the pools have been given back and
// closed. If it takes longer than [CloseGrace], the connections that are lent are cut: whoever is at
// work gets an error and gives the connection back. If somebody does not, AwaitClosed returns an
// error, and wait goes on in a goroutine until the connection is given back: only its holder may
// touch what pgx keeps of it.
func AwaitClosed(wait func(), pools ...*Prepared) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		wait()
	}()
	if finished(done, CloseGrace) {
		return nil
	}
	each(pools, (*lease).cut)
	if finished(done, cutGrace) {
		return nil
	}
	return errLeft
}

// each calls f for the leases of all pools, all at the same time, and waits.
func each(pools []*Prepared, f func(*lease)) {
	var wg sync.WaitGroup
	for _, p := range pools {
		for _, l := range p.lent() {
			wg.Go(func() { f(l) })
		}
	}
	wg.Wait()
}

func finished(done <-chan struct{}, within time.Duration) bool {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// cut ends what the lease's connection does, from another goroutine than its holder's: the statement at
// the server is cancelled, and the holder gets an error from the network.
func (l *lease) cut() {
	ctx, cancel := context.WithTimeout(context.Background(), cutGrace)
	defer cancel()
	c := l.conn().PgConn()
	_ = c.CancelRequest(ctx) // the server ends the session without it too, once it sends something
	_ = c.Conn().Close()     // all that counts is that nothing passes any more
}
