package catalog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/tenantry/tenantry/scope"
)

// Repair finishes what was cut off: tenants that are [Provisioning] or [Failed]
// are made once more, tenants that are [Deleting] are dropped to the end. Without
// arguments it looks at all tenants in these states, which a service does at
// start-up. Tenants that are served already get what the role lacks of which
// [WithServingRole] says that it serves them, and are otherwise left alone. So are those that a
// living process is at work on: named ones are reported as [ErrBusy]. Without arguments
// it also drops the spares whose making or dropping was cut off.
//
// The error joins those of all tenants that could not be repaired, each with the
// tenant's name; they can be repaired again, or dropped.
func (c *Catalog) Repair(ctx context.Context, tenants ...scope.Tenant) error {
	if len(tenants) > 0 {
		return c.repairEach(ctx, tenants)
	}
	broken, err := c.Broken(ctx)
	// Another process may be at work on one, or have dropped it meanwhile.
	return errors.Join(err, c.repairEach(ctx, broken, ErrBusy, ErrUnknown), c.repairSpares(ctx))
}

// Broken returns the tenants that Repair without arguments has work with. The error
// joins those of the servers that could not be asked.
func (c *Catalog) Broken(ctx context.Context) (broken []scope.Tenant, err error) {
	for t, err := range c.List(ctx, Filter{States: []State{Provisioning, Failed, Deleting}}) {
		if err != nil {
			return nil, err
		}
		broken = append(broken, t.ID)
	}
	var servers []serverRow
	if err := c.db.WithContext(ctx).Order("name").Find(&servers).Error; err != nil {
		return broken, fmt.Errorf("catalog: list the servers: %w", err)
	}
	var errs []error
	for i := range servers {
		unserved, err := c.unserved(ctx, &servers[i])
		broken, errs = append(broken, unserved...), append(errs, err)
	}
	return broken, errors.Join(errs...)
}

// repairSpares drops the spares whose making or dropping was cut off.
func (c *Catalog) repairSpares(ctx context.Context) error {
	var servers []string
	err := c.db.WithContext(ctx).Model(&spareRow{}).Distinct("server").Where("state <> ?", spareReady).Order("server").Pluck("server", &servers).Error
	if err != nil {
		return fmt.Errorf("catalog: list the spares: %w", err)
	}
	var errs []error
	for _, s := range servers {
		err := c.atWork(ctx, func(ctx context.Context) error {
			return c.locked(ctx, sparesKey(s), func(ctx context.Context) error { return c.dropSpares(ctx, s, cutOff) })
		})
		if err != nil && !errors.Is(err, errLocked) {
			errs = append(errs, fmt.Errorf("catalog: repair the spares on server %q: %w", s, err))
		}
	}
	return errors.Join(errs...)
}

// repairEach repairs tenants one after the other. Errors that match one of
// tolerated are left out.
func (c *Catalog) repairEach(ctx context.Context, tenants []scope.Tenant, tolerated ...error) error {
	var errs []error
	for _, t := range tenants {
		err := c.alone(ctx, t, func(ctx context.Context) error { return c.repair(ctx, t) })
		if !slices.ContainsFunc(tolerated, func(other error) bool { return errors.Is(err, other) }) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
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
		return c.serve(ctx, row)
	}
	c.logger.Warn("catalog: go on with making a tenant", slog.String("tenant", row.ID))
	_, err = c.provision(ctx, row)
	return err
}
