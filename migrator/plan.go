package migrator

import (
	"cmp"
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/tenantry/tenantry/scope"
)

// Plan says what a run would do.
type Plan struct {
	Shared  []string    // migrations of the shared tables
	Groups  []PlanGroup // tenants with the same to do, the largest group first
	Current int         // selected tenants that have nothing to do
}

// PlanGroup is tenants that would run the same migrations.
type PlanGroup struct {
	Migrations []string       // in the order in which they would run
	Tenants    []scope.Tenant // in the order of the list
	SQL        []Statement    // of the first tenant; only by [Migrator.PlanSQL]
	Err        error          // why there is no SQL: nil, or the first tenant's *scope.TenantError
}

// Statement is what a migration sends.
type Statement struct {
	Migration string
	SQL       string // with its arguments; a comment where it can't be known without running it
}

// Plan says what Run with the same options would do, by the ledger, and changes
// nothing.
func (m *Migrator) Plan(ctx context.Context, opts ...RunOption) (p Plan, err error) {
	err = m.open(ctx, func(ctx context.Context, l *ledger) error {
		p, err = m.plan(ctx, l, opts)
		return err
	})
	return p, err
}

// PlanSQL is Plan with the SQL of each group's first tenant: its migrations run in a
// transaction that is rolled back. They take the same locks as in a run, for as long as
// they run, and whatever else a migration does but send SQL, it does. The SQL of the
// shared tables is not shown. A tenant that fails does not stop the others: the error
// joins those of the groups, and the plan is whole all the same, unless ctx has ended.
func (m *Migrator) PlanSQL(ctx context.Context, opts ...RunOption) (p Plan, err error) {
	err = m.open(ctx, func(ctx context.Context, l *ledger) error {
		p, err = m.plan(ctx, l, opts)
		if err != nil {
			return err
		}
		return m.rehearseAll(ctx, p.Groups)
	})
	return p, err
}

// rehearseAll fills in the SQL of each group, or why there is none.
func (m *Migrator) rehearseAll(ctx context.Context, groups []PlanGroup) error {
	var errs []error
	for i := range groups {
		if ctx.Err() != nil {
			return errors.Join(append(errs, context.Cause(ctx))...)
		}
		g := &groups[i]
		sent, err := m.rehearse(ctx, g.Tenants[0], g.Migrations)
		if err != nil {
			g.Err = describe("plan", g.Tenants[0], err)
			errs = append(errs, g.Err)
			continue
		}
		g.SQL = sent
	}
	return errors.Join(errs...)
}

func (m *Migrator) plan(ctx context.Context, l *ledger, opts []RunOption) (p Plan, err error) {
	o, err := m.newOrder(applying, opts)
	if err != nil {
		return p, err
	}
	pending, err := m.pendingShared(ctx)
	if err != nil {
		return p, err
	}
	p.Shared = pending.ids()
	fleet, err := collect(ctx, m.tenants)
	if err != nil {
		return p, err
	}
	b, err := m.acquaint(ctx, l, fleet)
	if err != nil {
		return p, err
	}
	selected, tasks, err := o.tasks(fleet, b)
	if err != nil {
		return p, err
	}
	p.Current = len(selected) - len(tasks)
	p.Groups, err = o.groups(tasks)
	return p, err
}

// groups puts tenants together that have the same to do.
func (o *order) groups(tasks []task) ([]PlanGroup, error) {
	at := map[string]int{}
	var groups []PlanGroup
	for _, t := range tasks {
		steps, err := o.steps(t.ID, t.entry.applied)
		if err != nil {
			return nil, err
		}
		var ids []string
		for _, s := range steps {
			ids = append(ids, s.migration.ID)
		}
		key := fingerprint(ids)
		n, ok := at[key]
		if !ok {
			n = len(groups)
			at[key] = n
			groups = append(groups, PlanGroup{Migrations: ids})
		}
		groups[n].Tenants = append(groups[n].Tenants, t.ID)
	}
	slices.SortStableFunc(groups, func(a, b PlanGroup) int { return cmp.Compare(len(b.Tenants), len(a.Tenants)) })
	return groups, nil
}

// errRehearsed ends the transaction of a rehearsal.
var errRehearsed = errors.New("migrator: rehearsed")

// rehearse runs migrations of a tenant, rolls them back, and returns what they
// sent. What follows one that can't run in a transaction can't be known.
func (m *Migrator) rehearse(ctx context.Context, t scope.Tenant, ids []string) (sent []Statement, err error) {
	v := newAttempt(ctx, t, false, nil)
	v.steps = func([]string) (steps []step, err error) {
		for i, id := range ids {
			at := slices.Index(m.migrations.ids(), id)
			recorded := *m.migrations[at]
			recorded.Migrate = func(tx *gorm.DB) error {
				r := &recorder{Interface: tx.Logger}
				err := m.migrations[at].Migrate(tx.Session(&gorm.Session{Logger: r}))
				if errors.Is(err, errOutside) {
					sent = append(sent, Statement{id, notShown(ids[i:])})
					return errRehearsed
				}
				for _, sql := range r.statements() {
					sent = append(sent, Statement{id, sql})
				}
				return err
			}
			steps = append(steps, step{migration: &recorded})
		}
		last := *m.migrations[0]
		last.Migrate = func(*gorm.DB) error { return errRehearsed }
		return append(steps, step{migration: &last}), nil
	}
	_, err = m.retryLocks(v, func(int, error) { sent = nil }, func(step) {})
	if errors.Is(err, errRehearsed) {
		return sent, nil
	}
	return nil, err
}

// notShown says of which migrations a rehearsal can't know the SQL.
func notShown(ids []string) string {
	text := "-- not shown: " + ids[0] + " runs outside of a transaction"
	if len(ids) > 1 {
		text += ", and after it " + strings.Join(ids[1:], ", ")
	}
	return text
}

// recorder is a logger that remembers the statements.
type recorder struct {
	logger.Interface

	mu   sync.Mutex // guards sent
	sent []string
}

// looks matches what only looks at PostgreSQL's own tables.
var looks = regexp.MustCompile(`(?is)^\s*select\s.*\b(?:from|join)\s+"?(?:pg_|information_schema\b)`)

// Trace remembers a statement, unless it only looks at the catalog.
func (r *recorder) Trace(ctx context.Context, begin time.Time, fc func() (string, int64), err error) {
	sql, _ := fc()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !looks.MatchString(sql) {
		r.sent = append(r.sent, sql)
	}
	r.Interface.Trace(ctx, begin, fc, err)
}

// LogMode is the logger's; the recorder stays.
func (r *recorder) LogMode(logger.LogLevel) logger.Interface { return r }

func (r *recorder) statements() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sent
}
