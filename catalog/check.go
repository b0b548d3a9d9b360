package catalog

import (
	"context"
	"fmt"
)

// Check returns what [Catalog.Create] would say of n before it makes anything: nil, or
// an *InputError, for a form that answers while its user types. It is as of now:
// another may have the id or a host before Create is called. Whether there is room is
// not looked at. It asks the master database twice at most.
func (c *Catalog) Check(ctx context.Context, n New) error {
	row, err := c.draft(n)
	if err != nil {
		return err
	}
	var taken []string
	if err := c.db.WithContext(ctx).Model(&tenantRow{}).Where("id = ?", row.ID).Pluck("id", &taken).Error; err != nil {
		return fmt.Errorf("catalog: check %q: %w", row.ID, err)
	}
	if len(taken) > 0 {
		return c.orFailed(ctx, row, &InputError{Field: "id", Value: row.ID, Err: ErrTaken})
	}
	names := make([]string, len(row.Hosts))
	for i, h := range row.Hosts {
		names[i] = h.Name
	}
	if err := c.db.WithContext(ctx).Model(&hostRow{}).Where("name in ?", names).Order("name").Pluck("name", &taken).Error; err != nil {
		return fmt.Errorf("catalog: check %q: %w", row.ID, err)
	}
	if len(taken) > 0 {
		return &InputError{Field: "host", Value: taken[0], Err: ErrTaken}
	}
	return nil
}
