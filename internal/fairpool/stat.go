package fairpool

import (
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// counts are numbers since the pool was opened.
type counts struct {
	reused   int64 // connections that went to a request without pgxpool
	waits    int64 // requests that waited, and got a connection or could ask for one
	waited   time.Duration
	canceled int64 // requests whose context ended while they waited
}

// Stat is the state of a [Pool]. It says what pgxpool's Stat says, with two differences:
// connections in the hot list are idle, and what went on without pgxpool is counted, too.
type Stat struct {
	*pgxpool.Stat
	hot, waiting int
	counts       counts
}

// Stat returns the state of the pool.
func (p *Pool[K]) Stat() *Stat {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &Stat{Stat: p.pgx.Stat(), hot: len(p.hot), counts: p.counted}
	for _, l := range p.turn {
		s.waiting += len(l.requests)
	}
	return s
}

// IdleConns returns the number of idle connections.
func (s *Stat) IdleConns() int32 { return s.Stat.IdleConns() + int32(s.hot) } //nolint:gosec // at most MaxConns

// AcquiredConns returns the number of connections that requests have.
func (s *Stat) AcquiredConns() int32 { return s.Stat.AcquiredConns() - int32(s.hot) } //nolint:gosec // at most MaxConns

// WaitingRequests returns the number of requests that wait for a connection.
func (s *Stat) WaitingRequests() int { return s.waiting }

// AcquireCount returns how often a request got a connection.
func (s *Stat) AcquireCount() int64 { return s.Stat.AcquireCount() + s.counts.reused }

// AcquireDuration returns how long requests have waited for connections that they got, together.
func (s *Stat) AcquireDuration() time.Duration { return s.Stat.AcquireDuration() + s.counts.waited }

// EmptyAcquireCount returns how often a request got a connection after a wait: for its turn, or for
// a connection to be opened. A request that did both counts twice.
func (s *Stat) EmptyAcquireCount() int64 { return s.Stat.EmptyAcquireCount() + s.counts.waits }

// EmptyAcquireWaitTime returns how long these requests have waited, together.
func (s *Stat) EmptyAcquireWaitTime() time.Duration {
	return s.Stat.EmptyAcquireWaitTime() + s.counts.waited
}

// CanceledAcquireCount returns how many requests ended with their context before they got a
// connection.
func (s *Stat) CanceledAcquireCount() int64 {
	return s.Stat.CanceledAcquireCount() + s.counts.canceled
}
