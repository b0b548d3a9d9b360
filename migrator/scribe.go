package migrator

import (
	"context"
	"sync"
	"time"
)

// every is how long results wait to be written together.
const every = 100 * time.Millisecond

// scribe writes results into the ledger, those that come together by one
// statement: each write is a commit.
type scribe struct {
	ledger *ledger
	run    int64
	board  *board

	writing sync.Mutex // held while results are written, so that they are in when flush returns

	mu      sync.Mutex // guards waiting and err; not held while writing
	waiting []outcome
	err     error // of the first results that could not be written
}

func newScribe(l *ledger, run int64, b *board) *scribe {
	return &scribe{ledger: l, run: run, board: b}
}

// add takes over an outcome, and tells of it.
func (s *scribe) add(o outcome, r *Result) {
	s.mu.Lock()
	s.waiting = append(s.waiting, o)
	s.mu.Unlock()
	switch r.State {
	case Current:
		s.board.tell(Event{Kind: EventDone, Tenant: r.Tenant, Duration: r.Duration})
	case Failed:
		s.board.tell(Event{Kind: EventFailed, Tenant: r.Tenant, Duration: r.Duration, Err: r.Err})
	}
}

// write writes now and then, until ctx ends.
func (s *scribe) write(ctx context.Context) {
	for wait(ctx, every) == nil {
		_ = s.flush(ctx) // remembered
	}
}

// flush writes what is waiting. What can't be written waits on, for last.
func (s *scribe) flush(ctx context.Context) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	batch, err := s.waiting, s.err
	if err == nil {
		s.waiting = nil
	}
	s.mu.Unlock()
	if len(batch) == 0 || err != nil {
		return err
	}
	if err = s.ledger.record(ctx, s.run, batch); err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.waiting = append(batch, s.waiting...)
		if ctx.Err() == nil {
			s.err = err
		}
		return err
	}
	s.board.wrote(batch)
	return nil
}

// last tries once more to write everything, and returns the tenants of which the
// ledger could not be told.
func (s *scribe) last(ctx context.Context) (untold []string, err error) {
	s.mu.Lock()
	s.err = nil
	s.mu.Unlock()
	err = s.flush(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.waiting {
		untold = append(untold, o.Tenant.String())
	}
	return untold, err
}

// compare finds out how far other processes are. Nothing is written meanwhile, so that
// what is read holds exactly what this process knows to be written.
func (s *scribe) compare(ctx context.Context) {
	if !s.writing.TryLock() {
		return // the next time
	}
	defer s.writing.Unlock()
	if standing, err := s.ledger.stand(ctx, s.run, ""); err == nil {
		s.board.others(standing)
	}
}
