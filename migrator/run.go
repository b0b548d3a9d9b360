package migrator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/internal/driver"
	"github.com/tenantry/tenantry/scope"
)

// Run applies what tenants do not have yet. With nothing to do it asks the master
// database a few questions, however many tenants there are, and returns.
//
// Otherwise it begins a run, or joins the one that other processes have begun with
// the same migrations and options, and returns when the whole run is through: what
// a process that dies leaves undone, the others take over. While a different run is
// under way, it waits for that one to end. Each tenant is migrated in one
// transaction of its own, which also creates the tenant's schema if it is missing
// and nobody else makes it. One that fails is rolled back and does not stop the
// others, unless [StopAfter] or [Canary] say so.
//
// The report has a result for each tenant that is selected. The error is nil if all
// of them are current, and otherwise a *RunError, or what kept the run from
// beginning, such as an *UnknownError. When ctx ends, the tenants at work are
// rolled back, and their results, and those of tenants not begun, say Pending; the
// next Run goes on.
func (m *Migrator) Run(ctx context.Context, opts ...RunOption) (Report, error) {
	return m.call(ctx, func(ctx context.Context, l *ledger) (Report, error) {
		o, err := m.newOrder(applying, opts)
		if err != nil {
			return Report{}, err
		}
		var report Report
		if report.Shared, err = m.migrateShared(ctx, l); err != nil {
			return report, err
		}
		err = m.execute(ctx, l, o, &report)
		return report, err
	})
}

// Rollback undoes, tenant by tenant, what comes after the migration to in the list,
// the last one first. That a migration has no Rollback function is an error before
// anything is begun, and so is that a migration that stays was applied on top, or one
// that the list does not have. Otherwise it is like Run.
func (m *Migrator) Rollback(ctx context.Context, to string, opts ...RunOption) (Report, error) {
	return m.call(ctx, func(ctx context.Context, l *ledger) (report Report, err error) {
		o, err := m.newOrder(undoing, opts)
		if err != nil {
			return report, err
		}
		if to == "" {
			return report, errors.New("migrator: Rollback: name the migration that is to be the last one")
		}
		if _, err := m.migrations.upTo(to); err != nil {
			return report, err
		}
		o.To = to
		err = m.execute(ctx, l, o, &report)
		return report, err
	})
}

// RollbackRun undoes what a run has applied, tenant by tenant: nothing of tenants
// that it did not change. A tenant on which a later run has built is an error.
// Otherwise it is like Rollback.
func (m *Migrator) RollbackRun(ctx context.Context, run int64, opts ...RunOption) (Report, error) {
	return m.call(ctx, func(ctx context.Context, l *ledger) (report Report, err error) {
		o, err := m.newOrder(undoRun, opts)
		if err != nil {
			return report, err
		}
		o.Of = run
		err = m.execute(ctx, l, o, &report)
		return report, err
	})
}

// call opens what a call needs, and closes it.
func (m *Migrator) call(ctx context.Context, f func(context.Context, *ledger) (Report, error)) (report Report, err error) {
	err = m.open(ctx, func(ctx context.Context, l *ledger) error {
		report, err = f(ctx, l)
		return err
	})
	return report, err
}

// open calls f with the ledger, and with a context under which migrations go where
// WithDirect says, or Administered.
func (m *Migrator) open(ctx context.Context, f func(context.Context, *ledger) error) error {
	if m.err != nil {
		return m.err
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	direct, err := m.directConfig()
	if err != nil {
		return err
	}
	cfg := m.connector.Base.Config()
	if direct != nil {
		cfg = direct.Copy()
		driver.PreparePool(cfg, driver.Tuning{})
		cfg.MaxConns, cfg.MinConns, cfg.MinIdleConns = int32(min(m.concurrency, 1<<15)+1), 0, 0 //nolint:gosec // small
		pool, err := pgxpool.NewWithConfig(ctx, cfg)
		if err != nil {
			return fmt.Errorf("migrator: WithDirect: %w", err)
		}
		defer pool.Close()
		if err := m.checkDirect(ctx, pool); err != nil {
			return err
		}
		ctx = driver.WithBase(ctx, pool)
		cfg = cfg.Copy()
	}
	l, err := openLedger(ctx, cfg, m.lease)
	if err != nil {
		return err
	}
	defer l.close()
	return f(ctx, l)
}

// execute does what o says and fills in the report.
func (m *Migrator) execute(ctx context.Context, l *ledger, o *order, report *Report) error {
	fleet, err := collect(ctx, m.tenants)
	if err != nil {
		return err
	}
	b, err := m.acquaint(ctx, l, fleet)
	if err != nil {
		return err
	}
	selected, tasks, err := o.tasks(fleet, b)
	if err != nil {
		return err
	}
	if err := l.settle(ctx, o, b, selected, tasks); err != nil {
		return err
	}
	e := enlisted{selected: selected}
	// Another process's run may have those that move already, or be the one to undo.
	if len(tasks) > 0 || o.Only.moves() || o.Kind == undoRun {
		if e, err = m.enlist(ctx, l, o, fleet); err != nil {
			return err
		}
	}
	if e.run == 0 {
		report.Results = results(e.selected, nil)
		return nil
	}
	report.Run = e.run
	return m.join(ctx, l, o, e, report)
}

// enlist begins or joins a run as soon as no other one is under way. What processes
// that died in the meantime have done is found out before it is forgotten.
func (m *Migrator) enlist(ctx context.Context, l *ledger, o *order, fleet []Tenant) (enlisted, error) {
	looked := false
	for told := int64(0); ; {
		e, err := l.enlist(ctx, o, fleet, looked)
		switch {
		case err != nil:
			return e, err
		case e.look:
			looked = true
			if _, err := m.acquaint(ctx, l, fleet); err != nil {
				return e, err
			}
			continue
		case e.busy == nil:
			return e, nil
		case told != e.busy.ID:
			told = e.busy.ID
			m.logger.Info("migrator: waiting for another run to end", slog.Int64("run", e.busy.ID), slog.String("what", e.busy.Title), slog.String("by", e.busy.By))
			m.progress(Event{Kind: EventWaiting, Run: e.busy.ID})
		}
		looked = false
		if err := wait(ctx, lookAgain); err != nil {
			return e, fmt.Errorf("migrator: while waiting for another run to end: %w", err)
		}
	}
}

// join does a share of the run.
func (m *Migrator) join(ctx context.Context, l *ledger, o *order, e enlisted, report *Report) error {
	m.logger.Info("migrator: run", slog.Int64("run", e.run), slog.String("what", o.title()), slog.Int("tenants", len(e.tasks)))
	s := newShift(m, l, o, e)
	cause := s.work(ctx)
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), closing)
	defer cancel()
	ends, err := l.finals(last, e.run)
	cause = errors.Join(cause, err)
	report.Results = results(e.selected, func(t Tenant) *Result { return s.resultOf(t, ends) })
	if cause == nil && report.Count(Pending)+report.Count(Running) > 0 {
		cause = ErrStopped
	}
	if err := m.dropGone(last, l, report); err != nil {
		m.logger.Warn("migrator: can't tell whether tenants were dropped meanwhile", slog.Any("error", err))
	}
	err = report.err(cause)
	m.logger.Info("migrator: run has ended for this process", slog.Int64("run", e.run), slog.Int("current", report.Count(Current)), slog.Int("failed", report.Count(Failed)), slog.Int("not_done", report.Count(Pending)+report.Count(Running)))
	return err
}

// results makes a result for each tenant. Those of which of says nothing had
// nothing to do.
func results(tenants []Tenant, of func(Tenant) *Result) []Result {
	out := make([]Result, len(tenants))
	for i, t := range tenants {
		out[i] = Result{Tenant: t.ID, State: Current}
		if of == nil {
			continue
		}
		if r := of(t); r != nil {
			out[i] = *r
		}
	}
	return out
}

// resultOf returns what this process has done for a tenant, or how it has ended
// elsewhere; nil if the run has nothing to do for it.
func (s *shift) resultOf(t Tenant, ends map[scope.Tenant]final) *Result {
	if r := s.mine[t.ID]; r != nil {
		return r
	}
	if s.fleet[t.ID] == nil {
		return nil
	}
	end, ok := ends[t.ID]
	if !ok { // it is another run's by now
		end.state = Pending
	}
	r := &Result{Tenant: t.ID, State: end.state}
	if end.failure != nil {
		r.Err = describe(s.order.verb(), t.ID, end.failure)
	}
	return r
}

// dropGone takes out failed tenants that are not in the fleet any more: they were
// dropped while the run was under way.
func (m *Migrator) dropGone(ctx context.Context, l *ledger, report *Report) error {
	if report.Count(Failed) == 0 {
		return nil
	}
	fleet, err := collect(ctx, m.tenants)
	if err != nil {
		return err
	}
	there := make(map[scope.Tenant]bool, len(fleet))
	for _, t := range fleet {
		there[t.ID] = true
	}
	var gone []string
	kept := report.Results[:0]
	for _, r := range report.Results {
		if r.State == Failed && !there[r.Tenant] {
			gone = append(gone, r.Tenant.String())
			continue
		}
		kept = append(kept, r)
	}
	report.Results = kept
	return l.forget(ctx, gone)
}
