package migrator

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tenantry/tenantry/scope"
)

// State is where a tenant is, by the ledger.
type State string

// The states of a tenant.
const (
	Pending State = "pending" // has to be migrated, and nobody is at work on it
	Running State = "running" // a process is at work on it
	Current State = "current" // the last run has brought it where it was to be
	Failed  State = "failed"  // the last run has failed
)

// Status is what the ledger knows of a tenant.
type Status struct {
	Tenant   Tenant
	State    State     // Pending also for one that the ledger has not seen, because it could not be read
	Since    time.Time // when it came into this state; zero if the ledger has not seen the tenant
	Last     string    // the last migration applied, in the order of the list; "" if none
	Applied  int       // how many are applied
	Pending  []string  // what is still to be applied, in order
	Unknown  []string  // applied, but not in the list: a newer program has run
	Attempts int       // tries since it was current last
	Run      int64     // the last run that it belonged to; 0 if none
	Failure  *Failure  // why it failed; nil in other states
}

// Status returns what the ledger knows of the selected tenants, in the order of the
// list. Only tenants that the ledger has not seen yet, such as new ones, are looked at:
// what was changed past the migrator, [Migrator.Verify] finds.
func (m *Migrator) Status(ctx context.Context, s Selection) (list []Status, err error) {
	err = m.open(ctx, func(ctx context.Context, l *ledger) error {
		fleet, err := m.collect(ctx, s)
		if err != nil {
			return err
		}
		b, err := m.acquaint(ctx, l, fleet)
		if err != nil {
			return err
		}
		for _, t := range m.choose(s, fleet, b) {
			list = append(list, m.status(t, b.entryOf(t)))
		}
		return nil
	})
	return list, err
}

func (m *Migrator) status(t Tenant, e *entry) Status {
	s := Status{Tenant: t, State: e.shown(m.migrations)}
	if e == nil {
		s.Pending = m.migrations.ids()
		return s
	}
	s.Since, s.Last, s.Applied = e.since, e.last, len(e.applied)
	s.Pending, s.Unknown = m.migrations.without(e.applied).ids(), m.migrations.unknown(e.applied)
	s.Attempts, s.Run = e.attempts, e.run
	if s.State == Failed {
		s.Failure = e.failure
	}
	return s
}

// choose returns the tenants that s selects.
func (m *Migrator) choose(s Selection, tenants []Tenant, b book) (selected []Tenant) {
	for _, t := range tenants {
		if s.First > 0 && len(selected) == s.First {
			break
		}
		if s.selects(t) && (len(s.States) == 0 || slices.Contains(s.States, b.entryOf(t).shown(m.migrations))) {
			selected = append(selected, t)
		}
	}
	return selected
}

// shown is the state of a tenant for a program with the given migrations. A nil
// entry is of a tenant that the ledger has not seen.
func (e *entry) shown(m Migrations) State {
	switch {
	case e == nil, e.state == Pending, e.dead:
		return Pending
	case e.state == Current && len(m.without(e.applied)) > 0:
		return Pending
	}
	return e.state
}

// SharedStatus is where the shared tables are, see [WithShared]. The zero value is
// that of a migrator that has no migrations for them.
type SharedStatus struct {
	Applied []string // what is applied, in the order of the list
	Pending []string // what is still to be applied, in order
	Unknown []string // applied, but not in the list, sorted: a newer program has run
}

// SharedStatus reads where the shared tables are: from their own tracking table, as
// the ledger is of tenants only.
func (m *Migrator) SharedStatus(ctx context.Context) (s SharedStatus, err error) {
	err = m.open(ctx, func(ctx context.Context, _ *ledger) error {
		if len(m.shared) == 0 {
			return nil
		}
		applied, err := m.appliedShared(ctx)
		if err != nil {
			return err
		}
		pending := m.shared.without(applied)
		s = SharedStatus{Applied: m.shared.without(sorted(pending.ids())).ids(), Pending: pending.ids(), Unknown: m.shared.unknown(applied)}
		return nil
	})
	return s, err
}

// appliedShared returns the ids that the shared tables have, sorted, without any lock.
func (m *Migrator) appliedShared(ctx context.Context) ([]string, error) {
	db := m.db.WithContext(scope.Shared(ctx))
	var schema *string
	err := db.Raw("select s from pg_catalog.current_schema() s where pg_catalog.to_regclass(pg_catalog.quote_ident(s) || '.migrations') is not null").Scan(&schema).Error
	var applied []string
	if err == nil && schema != nil {
		applied, err = tableIn(*schema).applied(db)
	}
	if err != nil {
		return nil, fmt.Errorf("migrator: the shared tables: %w", err)
	}
	return applied, nil
}

// RunState is how a run is or has ended.
type RunState string

// The states of a run.
const (
	RunRunning     RunState = "running"
	RunDone        RunState = "done"        // all its tenants are current
	RunFailed      RunState = "failed"      // all have been tried, some have failed
	RunStopped     RunState = "stopped"     // ended early: by StopAfter, or because a canary failed
	RunInterrupted RunState = "interrupted" // its processes have ended before it
)

// RunInfo is what the ledger knows of a run.
type RunInfo struct {
	ID       int64
	Title    string // what it was to do, such as "up" or "roll back to 0007"
	State    RunState
	By       string    // host and process that began it
	Started  time.Time // by the master's clock
	Finished time.Time // zero while it runs
	Tenants  int       // how many it has changed, failed at, or still has to do
	Done     int       // of these
	Failed   int       // of these
}

// Runs returns the last n runs, the latest first.
func (m *Migrator) Runs(ctx context.Context, n int) (list []RunInfo, err error) {
	err = m.open(ctx, func(ctx context.Context, l *ledger) error {
		list, err = l.runs(ctx, n)
		return err
	})
	return list, err
}

// RunResults returns what the run has done for each of its tenants, whichever process
// did it, sorted by id. Of those not done yet the State says whether a process is at
// work on them. Attempts is 0: the ledger counts them across runs. Err is nil also for
// a failed tenant that a later run has had since, or that was mended by hand: the ledger
// keeps only what is still the matter. That there is no such run is an error.
func (m *Migrator) RunResults(ctx context.Context, run int64) (list []Result, err error) {
	err = m.open(ctx, func(ctx context.Context, l *ledger) error {
		list, err = l.resultsOf(ctx, run)
		return err
	})
	return list, err
}
