package migrator

import (
	"sync"
)

// board tells the progress of a run, one event at a time.
type board struct {
	tellOne func(Event)
	run     int64

	mu       sync.Mutex // guards the counts, and is held while tellOne works
	total    int
	done     int      // by this process
	failed   int      // of these
	written  standing // of these, those that the ledger knew when it was read last
	theirs   int      // done by other processes
	theirBad int      // of these, failed
}

func newBoard(tell func(Event), run int64, total int) *board {
	return &board{tellOne: tell, run: run, total: total}
}

// tell tells an event with the counts of this moment.
func (b *board) tell(e Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e.Kind {
	case EventDone:
		b.done++
	case EventFailed:
		b.done++
		b.failed++
	}
	e.Run, e.Done, e.Failed, e.Total = b.run, b.done+b.theirs, b.failed+b.theirBad, b.total
	b.tellOne(e)
}

// failures returns how many tenants have failed, as far as known.
func (b *board) failures() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failed + b.theirBad
}

// wrote counts what of this process is in the ledger.
func (b *board) wrote(outcomes []outcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, o := range outcomes {
		switch o.State {
		case Failed:
			b.written.failed++
			b.written.done++
		case Current:
			b.written.done++
		}
	}
}

// others takes over how far the whole run is.
func (b *board) others(s standing) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.total = max(b.total, s.total)
	b.theirs = max(0, min(s.done-b.written.done, b.total-b.done))
	b.theirBad = max(0, s.failed-b.written.failed)
}
