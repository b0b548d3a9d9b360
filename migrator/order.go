package migrator

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/tenantry/tenantry/internal/option"
	"github.com/tenantry/tenantry/scope"
)

// RunOption changes what one call does; an [Option] is for all calls of a Migrator.
type RunOption func(*order) error

// To ends with the migration id: later ones in the list are left for another run.
// The default is the whole list. Rollback refuses it.
func To(id string) RunOption {
	return func(o *order) error {
		if id == "" {
			return errors.New("migrator: To: the id is empty")
		}
		o.To = id
		return nil
	}
}

// Only restricts the call to the tenants that s selects.
func Only(s Selection) RunOption {
	return func(o *order) error {
		o.Only = s
		return nil
	}
}

// Canary begins with the tenants that s selects, of those that have something to
// do. The others follow when all of these are through; if one fails, the run ends
// with ErrStopped. [Selection.First] alone takes any so many. Canaries that have
// nothing to do count as through.
func Canary(s Selection) RunOption {
	return func(o *order) error {
		if s.isZero() {
			return errors.New("migrator: Canary: the selection selects all tenants")
		}
		o.Canary = &s
		return nil
	}
}

// StopAfter ends the run with ErrStopped when n tenants have failed: no other
// tenant is begun, but those at work finish. The default is to go on to the end,
// however many fail.
func StopAfter(n int) RunOption {
	return func(o *order) error {
		if n < 1 {
			return fmt.Errorf("migrator: StopAfter: %d failures, at least 1 is needed", n)
		}
		o.StopAfter = n
		return nil
	}
}

// orderKind is what a run does with each tenant.
type orderKind string

const (
	applying orderKind = "up"
	undoing  orderKind = "rollback"     // what comes after To
	undoRun  orderKind = "rollback run" // what the run Of has done
)

// order is what a run is to do. As JSON it is the run's spec: equal ones share a
// run, so everything that makes a difference is in it.
type order struct {
	Kind      orderKind  `json:"kind"`
	List      string     `json:"list"` // fingerprint of the migrations
	To        string     `json:"to,omitempty"`
	Of        int64      `json:"of,omitempty"`
	Only      Selection  `json:"only"`
	Canary    *Selection `json:"canary,omitempty"`
	StopAfter int        `json:"stop_after,omitempty"`

	m   *Migrator
	did map[scope.Tenant][]string // what the run Of has applied
}

func (m *Migrator) newOrder(kind orderKind, opts []RunOption) (*order, error) {
	o := &order{Kind: kind, List: m.migrations.Fingerprint(), m: m}
	if err := option.Apply("migrator", o, opts); err != nil {
		return nil, err
	}
	if kind != applying && o.To != "" {
		return nil, errors.New("migrator: To is for Run: a rollback is told by itself how far it goes")
	}
	_, err := o.m.migrations.upTo(o.To)
	return o, err
}

// spec returns the order as JSON.
func (o *order) spec() (string, error) {
	spec, err := json.Marshal(o)
	return string(spec), err
}

// title says what the order is, for people.
func (o *order) title() string {
	title := "up"
	switch {
	case o.Kind == undoing:
		title = "roll back to " + o.To
	case o.Kind == undoRun:
		title = fmt.Sprintf("roll back run %d", o.Of)
	case o.To != "":
		title = "up to " + o.To
	}
	if !o.Only.isZero() {
		title += ", of some tenants"
	}
	return title
}

// verb says what is done to a tenant, for errors.
func (o *order) verb() string {
	if o.Kind == applying {
		return "migrate"
	}
	return "roll back"
}

// steps returns what is to be done for a tenant that has the given migrations.
func (o *order) steps(t scope.Tenant, applied []string) ([]step, error) {
	if unknown := o.m.migrations.unknown(applied); len(unknown) > 0 && !o.m.unknown {
		return nil, &UnknownError{IDs: unknown, Tenants: []scope.Tenant{t}}
	}
	switch o.Kind {
	case undoing:
		return o.back(t, applied, o.after(applied))
	case undoRun:
		return o.back(t, applied, o.did[t])
	default:
		return o.forth(applied)
	}
}

func (o *order) forth(applied []string) ([]step, error) {
	list, err := o.m.migrations.upTo(o.To)
	if err != nil {
		return nil, err
	}
	var steps []step
	for _, m := range list.without(applied) {
		steps = append(steps, step{migration: m})
	}
	return steps, nil
}

// after returns the applied migrations that come after To.
func (o *order) after(applied []string) []string {
	ids := o.m.migrations.ids()
	from := slices.Index(ids, o.To) + 1
	return slices.DeleteFunc(slices.Clone(applied), func(id string) bool { return slices.Index(ids, id) < from })
}

// back returns the steps that undo the given migrations, the last one first. All of
// them must be there to be undone, and nothing that came later may stay.
func (o *order) back(t scope.Tenant, applied, undo []string) ([]step, error) {
	var steps []step
	stays := ""
	if newer := o.m.migrations.unknown(applied); len(newer) > 0 && len(undo) > 0 {
		stays = newer[len(newer)-1] // only the program that knows it knows what it builds on
	}
	for _, m := range slices.Backward(o.m.migrations) {
		switch {
		case !slices.Contains(applied, m.ID):
		case !slices.Contains(undo, m.ID):
			stays = m.ID
		case stays != "":
			return nil, fmt.Errorf("migration %q of tenant %q can't be rolled back before %q, which was applied on top of it", m.ID, t, stays)
		case m.Rollback == nil:
			return nil, fmt.Errorf("migration %q: %w", m.ID, ErrNoRollback)
		default:
			steps = append(steps, step{migration: m, back: true})
		}
	}
	return steps, nil
}

// task is a tenant that a run has something to do for.
type task struct {
	Tenant
	entry  *entry
	canary bool
}

// tasks returns the selected tenants, and which of them have something to do. The
// ledger must know all of them.
func (o *order) tasks(fleet []Tenant, b book) (selected []Tenant, tasks []task, err error) {
	if err := o.Only.check(fleet); err != nil {
		return nil, nil, err
	}
	selected = o.m.choose(o.Only, fleet, b)
	// Most tenants have one of a few lists, of which it is known after the first of them
	// whether something is to be done. What is undone may differ from tenant to tenant.
	pending := map[string]bool{}
	var unknown UnknownError
	for _, t := range selected {
		e := b.entryOf(t)
		if e == nil { // it could not be read: what is the matter shows when it is its turn
			e = &entry{state: Pending}
		}
		if known, ok := pending[e.list]; ok {
			if known {
				tasks = append(tasks, task{Tenant: t, entry: e})
			}
			continue
		}
		steps, err := o.steps(t.ID, e.applied)
		var newer *UnknownError
		switch {
		case errors.As(err, &newer):
			unknown.IDs = append(unknown.IDs, newer.IDs...)
			unknown.Tenants = append(unknown.Tenants, t.ID)
		case err != nil:
			return nil, nil, &scope.TenantError{Op: o.verb(), Tenant: t.ID, Err: err}
		case len(steps) > 0:
			tasks = append(tasks, task{Tenant: t, entry: e})
			fallthrough
		default:
			if o.Kind != undoRun {
				pending[e.list] = len(steps) > 0
			}
		}
	}
	if len(unknown.Tenants) > 0 {
		slices.Sort(unknown.IDs)
		unknown.IDs = slices.Compact(unknown.IDs)
		return nil, nil, &unknown
	}
	return selected, tasks, o.markCanaries(fleet, b, tasks)
}

// markCanaries marks the tasks that come first. None do if all canaries are
// through.
func (o *order) markCanaries(fleet []Tenant, b book, tasks []task) error {
	if o.Canary == nil {
		return nil
	}
	if err := o.Canary.check(fleet); err != nil {
		return err
	}
	if len(o.m.choose(*o.Canary, fleet, b)) == 0 {
		return errors.New("migrator: Canary: the selection selects no tenant of the fleet")
	}
	marked := 0
	for i, t := range tasks {
		if o.Canary.First > 0 && marked == o.Canary.First {
			break
		}
		if len(o.m.choose(*o.Canary, []Tenant{t.Tenant}, b)) > 0 {
			tasks[i].canary = true
			marked++
		}
	}
	return nil
}
