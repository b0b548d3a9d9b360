package plugin

import "time"

const (
	// failureMemory is how long a failure to connect answers for further tries: a
	// server that is down is not dialed once per request.
	failureMemory = 2 * time.Second
	// maxFailures bounds the memory where very many places fail at once.
	maxFailures = 1 << 12
)

// failure is a place that could not be opened.
type failure struct {
	err   error
	place place
	until time.Time
	count uint64 // in a row
}

// remembered returns the error that connecting to d has just failed with.
func (p *Pools) remembered(d Database) error {
	if f := p.failures[d]; f != nil && time.Now().Before(f.until) {
		return f.err
	}
	return nil
}

func (p *Pools) remember(e *entry, err error) {
	e.server.dialFailures++
	if p.closed {
		return
	}
	f := p.failures[e.database]
	if f == nil {
		f = &failure{place: e.place}
		p.makeRoomForFailure()
		p.failures[e.database] = f
	}
	f.count++
	f.err, f.until = err, time.Now().Add(failureMemory)
}

func (p *Pools) makeRoomForFailure() {
	if len(p.failures) < maxFailures {
		return
	}
	for d := range p.failures { // any will do: it is only dialed again
		delete(p.failures, d)
		return
	}
}
