package catalog

import (
	"context"
	"errors"
	"log/slog"

	"github.com/tenantry/tenantry/scope"
)

// Repair finishes what was cut off: tenants that are [Provisioning] or [Failed]
// are made once more, tenants that are [Deleting] are dropped to the end. Without
// arguments it looks at all tenants in these states, which a service does at
// start-up. Tenants in other states are left alone, and so are those that a
// living process is at work on: named ones are reported as [ErrBusy].
//
// The error joins those of all tenants that could not be repaired, each with the
// tenant's name; they can be repaired again, or dropped.
func (c *Catalog) Repair(ctx context.Context, tenants ...scope.Tenant) error {
	if len(tenants) > 0 {
		return c.repairEach(ctx, tenants)
	}
	var broken []scope.Tenant
	for t, err := range c.List(ctx, Filter{States: []State{Provisioning, Failed, Deleting}}) {
		if err != nil {
			return err
		}
		broken = append(broken, t.ID)
	}
	return withoutOthers(c.repairEach(ctx, broken))
}

func (c *Catalog) repairEach(ctx context.Context, tenants []scope.Tenant) error {
	errs := make([]error, len(tenants))
	for i, t := range tenants {
		errs[i] = c.alone(ctx, t, func(ctx context.Context) error { return c.repair(ctx, t) })
	}
	return errors.Join(errs...)
}

// withoutOthers takes out the tenants that another process is at work on, or has
// dropped since they were listed.
func withoutOthers(err error) error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err
	}
	var left []error
	for _, e := range joined.Unwrap() {
		if !errors.Is(e, ErrBusy) && !errors.Is(e, ErrUnknown) {
			left = append(left, e)
		}
	}
	return errors.Join(left...)
}

// repair repairs one tenant. The caller is alone at work on it.
func (c *Catalog) repair(ctx context.Context, t scope.Tenant) error {
	row, err := c.row(ctx, t)
	if err != nil {
		return err
	}
	switch row.State {
	case Deleting:
		c.logger.Warn("catalog: go on with dropping a tenant", slog.String("tenant", row.ID))
		return c.drop(ctx, row)
	case Failed:
		if _, err := c.move(ctx, row, Failed, map[string]any{"state": Provisioning}); err != nil {
			return &scope.TenantError{Op: "repair", Tenant: t, Err: err}
		}
	case Provisioning:
	default:
		return nil
	}
	c.logger.Warn("catalog: go on with making a tenant", slog.String("tenant", row.ID))
	_, err = c.provision(ctx, row)
	return err
}
