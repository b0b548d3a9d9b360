package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tenantry/tenantry/migrator"
)

// maxSteps is how many of the last steps of a rollout are kept.
const maxSteps = 200

// rolloutState is how far a rollout is.
type rolloutState struct {
	What    string `json:"what"` // "" if there was none yet
	Running bool   `json:"running"`
	Done    int    `json:"done"`
	Failed  int    `json:"failed"`
	Total   int    `json:"total"`
	Error   string `json:"error"`
	Steps   []step `json:"steps"` // the last ones; not changed, only replaced
}

// step is what has happened to one customer.
type step struct {
	Number    int    `json:"number"`
	Kind      string `json:"kind"`
	Customer  string `json:"customer"`
	Migration string `json:"migration"`
	Took      string `json:"took"`
}

// rollout runs migrations in the background, one at a time, and tells whoever looks
// how far they are.
type rollout struct {
	backend *backend
	ctx     context.Context // of what runs, and of those who look; ends with stop
	stop    context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex // guards what follows
	state   rolloutState
	count   int           // of steps, of all rollouts
	changed chan struct{} // closed when state changes
}

func newRollout(b *backend) *rollout {
	r := &rollout{backend: b, changed: make(chan struct{})}
	r.ctx, r.stop = context.WithCancel(context.Background())
	return r
}

// wait waits for what is under way, after stop.
func (r *rollout) wait() { r.running.Wait() }

// begin starts work, and reports false if there is some already.
func (r *rollout) begin(what string, work func(context.Context, migrator.Option) error) bool {
	if !r.claim(what) {
		return false
	}
	r.running.Go(func() {
		err := work(r.ctx, migrator.WithProgress(r.tell))
		r.update(func(s *rolloutState) {
			s.Running = false
			if err != nil {
				s.Error = err.Error() // the migrator's errors have no secrets
			}
		})
	})
	return true
}

func (r *rollout) claim(what string) (ok bool) {
	r.update(func(s *rolloutState) {
		if ok = !s.Running && r.ctx.Err() == nil; ok {
			*s = rolloutState{What: what, Running: true}
		}
	})
	return ok
}

// up brings all customers to the last migration.
func (r *rollout) up(ctx context.Context, progress migrator.Option) error {
	_, err := r.backend.migrator(progress).Run(ctx)
	return err
}

// down takes the last migration back.
func (r *rollout) down(ctx context.Context, progress migrator.Option) error {
	all := migrations()
	_, err := r.backend.migrator(progress).Rollback(ctx, all[len(all)-2].ID)
	return err
}

// tell takes an event of the migrator's, which waits for it meanwhile.
func (r *rollout) tell(e migrator.Event) {
	r.update(func(s *rolloutState) {
		s.Done, s.Failed, s.Total = e.Done, e.Failed, e.Total
		r.count++
		one := step{Number: r.count, Kind: string(e.Kind), Customer: e.Tenant.String(), Migration: e.Migration}
		if e.Duration > 0 {
			one.Took = fmt.Sprint(e.Duration.Round(100 * time.Microsecond))
		}
		kept := s.Steps[max(0, len(s.Steps)+1-maxSteps):]
		s.Steps = append(append(make([]step, 0, len(kept)+1), kept...), one)
	})
}

func (r *rollout) update(f func(*rolloutState)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.state)
	close(r.changed)
	r.changed = make(chan struct{})
}

// look returns how far the rollout is, and a channel that is closed when that changes.
// Who looks seldom misses steps, and holds up nobody.
func (r *rollout) look() (rolloutState, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state, r.changed
}
