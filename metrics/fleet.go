package metrics

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/tenantry/tenantry/migrator"
)

// answerLimit is how long the migrator may take to answer. It is longer than a
// scrape waits, so that a fleet that takes long to read is counted all the same.
const answerLimit = 30 * time.Second

// fleetStats is what the migrator has said.
type fleetStats struct {
	tenants map[migrator.State]int // not changed any more
	read    time.Time              // when; zero if never
	errors  uint64
}

// fleet asks the migrator on behalf of all scrapes, one question at a time. A
// question runs in a goroutine: closing the connections to a server that doesn't
// answer may take longer than any scrape can wait. close waits for it.
type fleet struct {
	source   MigratorSource
	maxAge   time.Duration
	patience time.Duration
	logger   *slog.Logger

	ctx     context.Context // of questions; ends with close
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu     sync.Mutex // guards what follows; never held while the migrator is asked
	known  fleetStats
	ended  time.Time     // when the last question was over; zero if none was
	asking chan struct{} // closed when the one under way is over; nil if there is none
	closed bool
}

func newFleet(c *config) *fleet {
	f := &fleet{source: c.migrator, maxAge: c.maxAge, patience: c.patience, logger: c.logger}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	return f
}

// look returns what is known. If that is too old it asks, and waits a moment for
// the answer.
func (f *fleet) look(ctx context.Context) fleetStats {
	if answered := f.ask(); answered != nil {
		patience := time.NewTimer(f.patienceIn(ctx))
		defer patience.Stop()
		select {
		case <-answered:
		case <-patience.C:
		case <-ctx.Done():
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.known
}

// patienceIn leaves half of the time that ctx has: OpenTelemetry's periodic reader
// exports under the same one, and loses all metrics when it has ended.
func (f *fleet) patienceIn(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return min(f.patience, time.Until(deadline)/2)
	}
	return f.patience
}

// ask puts a question if it is time to. It returns a channel that is closed when
// the one under way is over, nil if there is none.
func (f *fleet) ask() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.asking != nil {
		return f.asking
	}
	if f.closed || !f.ended.IsZero() && time.Since(f.ended) < f.maxAge {
		return nil
	}
	f.asking = make(chan struct{})
	f.running.Go(f.question)
	return f.asking
}

func (f *fleet) question() {
	ctx, cancel := context.WithTimeout(f.ctx, answerLimit)
	defer cancel()
	list, err := f.source.Status(ctx, migrator.Selection{})
	closing := err != nil && f.ctx.Err() != nil
	if err != nil && !closing {
		f.logger.Warn("metrics: the tenants can't be counted by state", "error", err)
	}
	tenants := count(list)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = time.Now() // not since it was asked: what is slow would be asked on and on
	switch {
	case err == nil:
		f.known.tenants, f.known.read = tenants, f.ended
	case !closing:
		f.known.errors++
	}
	close(f.asking)
	f.asking = nil
}

func count(list []migrator.Status) map[migrator.State]int {
	n := map[migrator.State]int{}
	for _, s := range list {
		n[s.State]++
	}
	return n
}

// close ends the question under way, and waits for that. There are none from then
// on.
func (f *fleet) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.cancel()
	f.running.Wait()
}
