package migrator

import (
	"context"
	"errors"

	"github.com/tenantry/tenantry/scope"
)

// Verification says what [Migrator.Verify] found.
type Verification struct {
	Checked int      // tenants whose tracking table was read
	Mended  []Mended // tenants of which the ledger was wrong, in the order of the list
}

// Mended is one mistake of the ledger.
type Mended struct {
	Tenant  scope.Tenant
	Missing []string // applied, and the ledger did not know
	Extra   []string // in the ledger, and not applied
}

// Verify reads the tracking tables of the selected tenants, a few hundred by one
// statement, and corrects the ledger where it says something else: because somebody
// migrated, restored or dropped a schema by other means. Tenants that the ledger
// has not seen yet it enters. Tenants that a process is at work on are left out.
// The error joins those of tenants that could not be read, each a
// *scope.TenantError; the others are verified.
func (m *Migrator) Verify(ctx context.Context, s Selection) (found Verification, err error) {
	err = m.open(ctx, func(ctx context.Context, l *ledger) error {
		found, err = m.verify(ctx, l, s)
		return err
	})
	return found, err
}

func (m *Migrator) verify(ctx context.Context, l *ledger, s Selection) (found Verification, err error) {
	fleet, err := m.collect(ctx, s)
	if err != nil {
		return found, err
	}
	b, err := l.read(ctx)
	if err != nil {
		return found, err
	}
	var tenants []Tenant
	for _, t := range m.choose(s, fleet, b) {
		if e := b.entryOf(t); e == nil || e.state != Running || e.dead {
			tenants = append(tenants, t)
		}
	}
	truth, err := m.read(ctx, tenants)
	if err != nil {
		return found, err
	}
	corrections := m.corrections(tenants, b, truth)
	found.Checked = len(corrections)
	var wrong []correction
	for _, c := range corrections {
		e := b[c.Tenant]
		seen := e != nil && e.incarnation == c.Incarnation
		if seen && e.list == c.List && !e.dead {
			continue
		}
		wrong = append(wrong, c)
		if seen && e.list != c.List { // what the ledger has not seen yet is no mistake of it
			found.Mended = append(found.Mended, Mended{Tenant: c.Tenant, Missing: c.Missing, Extra: c.Extra})
		}
	}
	if err := l.mend(ctx, wrong); err != nil {
		return found, err
	}
	if s.isZero() {
		err = l.forget(ctx, b.gone(fleet))
	}
	for _, t := range tenants {
		err = errors.Join(err, truth.errs[t.ID])
	}
	return found, err
}

// collect reads the fleet, for a selection that makes sense.
func (m *Migrator) collect(ctx context.Context, s Selection) ([]Tenant, error) {
	fleet, err := collect(ctx, m.tenants)
	if err == nil {
		err = s.check(fleet)
	}
	return fleet, err
}

// gone returns the tenants that are not in the fleet any more.
func (b book) gone(fleet []Tenant) (ids []string) {
	there := make(map[scope.Tenant]bool, len(fleet))
	for _, t := range fleet {
		there[t.ID] = true
	}
	for t := range b {
		if !there[t] {
			ids = append(ids, t.String())
		}
	}
	return ids
}
