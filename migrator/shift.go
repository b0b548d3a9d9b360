package migrator

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/tenantry/tenantry/scope"
)

const (
	// ahead is how much work is claimed at a time: claims cost a statement each, and
	// what one process holds, others can't take.
	ahead = 250 * time.Millisecond

	// mostClaimed is how many tenants are claimed at a time at most.
	mostClaimed = 200

	// lookAgain is how long to wait where others have all the work, or must be
	// through first.
	lookAgain = 100 * time.Millisecond

	// closing is how long it may take to write down how the work has ended, when the
	// context has ended already.
	closing = 10 * time.Second
)

// shift is the part of one call in a run.
type shift struct {
	m       *Migrator
	ledger  *ledger
	order   *order
	run     int64
	fleet   map[scope.Tenant]*entry
	servers []string
	slots   *semaphore.Weighted // of all servers together
	scribe  *scribe
	board   *board

	mu     sync.Mutex    // guards pace, mine, lost and unsure
	pace   time.Duration // that tenants take; 0 until the first is through
	mine   map[scope.Tenant]*Result
	lost   map[string]bool // servers of which tenants may be claimed that nobody knows of
	unsure []string        // tenants at which the context ended: COMMIT may have been on its way
}

func newShift(m *Migrator, l *ledger, o *order, e enlisted) *shift {
	s := &shift{
		m: m, ledger: l, order: o, run: e.run,
		fleet: make(map[scope.Tenant]*entry, len(e.tasks)),
		slots: semaphore.NewWeighted(int64(m.concurrency)),
		mine:  map[scope.Tenant]*Result{},
		lost:  map[string]bool{},
	}
	seen := map[string]bool{}
	for _, t := range e.tasks {
		s.fleet[t.ID] = t.entry
		if !seen[t.Server] {
			seen[t.Server] = true
			s.servers = append(s.servers, t.Server)
		}
	}
	s.board = newBoard(m.progress, e.run, len(e.tasks))
	s.scribe = newScribe(l, e.run, s.board)
	return s
}

// work does a share of the run and returns when the run is through, or ctx has
// ended. What it has claimed and not done is given back.
func (s *shift) work(ctx context.Context) error {
	beating, stop := context.WithCancel(context.WithoutCancel(ctx))
	var owned sync.WaitGroup
	owned.Go(func() { s.beat(beating) })
	owned.Go(func() { s.scribe.write(beating) })

	group, working := errgroup.WithContext(ctx)
	for _, server := range s.servers {
		group.Go(func() error { return s.serve(working, server) })
	}
	err := group.Wait()
	if ended := context.Cause(ctx); ended != nil {
		err = ended
	}

	// Others take the tenants over only when this process has not been heard of for
	// a while: they must know now.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), closing)
	defer cancel()
	untold, failed := s.scribe.last(last)
	err = errors.Join(err, failed, s.ledger.leave(last, s.run, append(untold, s.unsure...)))
	stop()
	owned.Wait()
	return err
}

// beat tells that this process is alive, and how far the others are.
func (s *shift) beat(ctx context.Context) {
	for wait(ctx, min(s.ledger.lease/4, time.Second)) == nil {
		if err := s.ledger.beat(ctx); err != nil && ctx.Err() == nil {
			s.m.logger.Warn("migrator: can't tell the ledger that this process is alive", slog.Int64("run", s.run), slog.Any("error", err))
		}
		s.scribe.compare(ctx)
	}
}

// serve does a share of the tenants of one server.
func (s *shift) serve(ctx context.Context, server string) error {
	c := newCrew(s, s.m.perServerLimit())
	defer c.dismiss()
	last := claimed{}
	claim := func() ([]claimed, error) { return s.claim(ctx, server, &last) }
	for next := claim; ; {
		claims, err := next()
		if err != nil {
			return err
		}
		next = claim
		for i, one := range claims {
			if i > 0 && i == len(claims)-c.reserve(claims) {
				next = c.begin(claim)
			}
			stopped, err := c.do(ctx, one)
			if err != nil {
				return err // given back at the end
			}
			if stopped {
				if err := s.ledger.giveBack(ctx, s.run, claims[i:]); err != nil {
					return err
				}
				break
			}
		}
		if len(claims) > 0 {
			continue
		}
		if busy, err := c.busy(ctx); err != nil {
			return err
		} else if busy {
			continue
		}
		if through, err := s.idle(ctx, server); through || err != nil {
			return err
		}
		if err := wait(ctx, lookAgain); err != nil {
			return err
		}
	}
}

// claim claims tenants of a server, those behind last first: what is done need not be
// looked at each time.
func (s *shift) claim(ctx context.Context, server string, last *claimed) ([]claimed, error) {
	claims, err := s.claimAfter(ctx, server, *last)
	if err == nil && len(claims) == 0 && *last != (claimed{}) {
		claims, err = s.claimAfter(ctx, server, claimed{})
	}
	*last = claimed{}
	if len(claims) > 0 {
		*last = claims[len(claims)-1]
	}
	return claims, err
}

func (s *shift) claimAfter(ctx context.Context, server string, last claimed) ([]claimed, error) {
	claims, lost, err := s.ledger.claim(ctx, s.run, server, last, s.appetite())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost[server] = s.lost[server] || lost
	return claims, err
}

// hasLost reports whether the answer of a claim has got lost. It stays so: the server
// may see to a claim later than to what comes after it.
func (s *shift) hasLost(server string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost[server]
}

// idle reports, where nothing can be claimed and nothing is at work, whether a server
// is through. What this process still has there when all results are written is what it
// does not know of.
func (s *shift) idle(ctx context.Context, server string) (through bool, err error) {
	if err := s.scribe.flush(ctx); err != nil {
		return false, err
	}
	if s.hasLost(server) {
		if err := s.ledger.disown(ctx, s.run, server); err != nil {
			return false, err
		}
	}
	standing, err := s.ledger.stand(ctx, s.run, server)
	switch {
	case err != nil:
		return false, err
	case standing.over && (standing.total == 0 || standing.done < standing.total):
		return false, ErrSuperseded
	case standing.running == 0 && standing.pending == 0, standing.stopped && standing.running == 0:
		return true, nil
	}
	return false, nil
}

// stopped reports whether as many tenants have failed as may: those that were
// claimed in advance are not begun either.
func (s *shift) stopped() bool {
	return s.order.StopAfter > 0 && s.board.failures() >= s.order.StopAfter
}

// appetite is how many tenants to claim.
func (s *shift) appetite() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	limit := min(s.m.concurrency, s.m.perServerLimit())
	if s.pace == 0 {
		return limit
	}
	return max(limit, min(mostClaimed, int(ahead*time.Duration(limit)/max(s.pace, time.Microsecond))))
}

// migrate does one tenant.
func (s *shift) migrate(ctx context.Context, c claimed) {
	start := time.Now()
	r := &Result{Tenant: c.tenant, State: Failed}
	s.board.tell(Event{Kind: EventStarted, Tenant: c.tenant})
	out := attemptResult{}
	err := errors.New("a migration ended its goroutine")
	defer func() { // also when attempt does not return
		r.Duration = time.Since(start)
		s.finish(ctx, c, r, out, err)
	}()
	out, err = s.attempt(ctx, c, r)
}

// attempt does what is to be done for the tenant, and once more if a lock could not
// be had.
func (s *shift) attempt(ctx context.Context, c claimed, r *Result) (attemptResult, error) {
	e := s.fleet[c.tenant]
	v := newAttempt(ctx, c.tenant, e != nil && len(e.applied) > 0, func(applied []string) ([]step, error) { return s.order.steps(c.tenant, applied) })
	if v.known && !c.taken { // of what a dead process has done, the ledger may not know
		v.listed = e.applied
	}
	return s.m.retryLocks(v, func(try int, err error) {
		r.Attempts = try
		if err != nil {
			s.board.tell(Event{Kind: EventRetrying, Tenant: c.tenant, Err: err})
			s.m.logger.Info("migrator: once more", slog.Int64("run", s.run), slog.Any("tenant", c.tenant), slog.Any("error", err))
		}
	}, func(st step) { s.board.tell(stepEvent(c.tenant, st)) })
}

func stepEvent(t scope.Tenant, s step) Event {
	e := Event{Kind: EventApplied, Tenant: t, Migration: s.migration.ID, Duration: s.took}
	if s.back {
		e.Kind = EventRolledBack
	}
	return e
}

// finish fills in the result and hands it to the scribe.
func (s *shift) finish(ctx context.Context, c claimed, r *Result, out attemptResult, err error) {
	o := outcome{Tenant: c.tenant, Tries: r.Attempts, Seconds: r.Duration.Seconds()}
	for _, st := range out.done {
		if st.back {
			r.RolledBack = append(r.RolledBack, st.migration.ID)
		} else {
			r.Applied = append(r.Applied, st.migration.ID)
		}
	}
	o.Applied, o.RolledBack = r.Applied, r.RolledBack
	if out.applied != nil {
		o.ids, o.List, o.Last = out.applied, fingerprint(out.applied), s.m.migrations.last(out.applied)
		if e := s.fleet[c.tenant]; c.taken && e != nil { // what the dead process has done is the run's, too
			o.Applied, o.RolledBack = difference(out.applied, e.applied), difference(e.applied, out.applied)
		}
	}
	switch {
	case err == nil:
		r.State = Current
	case ctx.Err() != nil: // not its fault
		r.State, r.Err = Pending, describe(s.order.verb(), c.tenant, errors.Join(context.Cause(ctx), err))
		s.note(r)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.unsure = append(s.unsure, c.tenant.String())
		return // the next run has a look at it
	default:
		r.Err = describe(s.order.verb(), c.tenant, err)
		o.Failure = failureOf(r.Err)
		if s.dropped(ctx, c.tenant) {
			s.note(r) // for dropGone
			return
		}
	}
	o.State = r.State
	s.note(r)
	s.log(r)
	s.scribe.add(o, r)
}

// dropped takes a failed tenant out of the ledger if it was dropped meanwhile: it must
// not stop the others. It asks only where a failure would.
func (s *shift) dropped(ctx context.Context, t scope.Tenant) bool {
	if s.order.StopAfter == 0 && s.order.Canary == nil {
		return false
	}
	fleet, err := collect(ctx, s.m.tenants)
	if err != nil || slices.ContainsFunc(fleet, func(other Tenant) bool { return other.ID == t }) {
		return false
	}
	return s.ledger.forget(ctx, []string{t.String()}) == nil
}

// note remembers the result, and how long tenants take.
func (s *shift) note(r *Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mine[r.Tenant] = r
	if s.pace == 0 {
		s.pace = r.Duration
	}
	s.pace = (3*s.pace + r.Duration) / 4
}

func (s *shift) log(r *Result) {
	if r.State == Current && !s.m.logger.Enabled(context.Background(), slog.LevelDebug) {
		return // as a rule
	}
	attrs := []any{slog.Int64("run", s.run), slog.Any("tenant", r.Tenant), slog.Duration("duration", r.Duration)}
	switch r.State {
	case Failed:
		s.m.logger.Error("migrator: a tenant has failed", append(attrs, slog.Any("error", r.Err))...)
	case Current:
		s.m.logger.Debug("migrator: a tenant is current", append(attrs, slog.Any("applied", r.Applied), slog.Any("rolled_back", r.RolledBack))...)
	}
}
