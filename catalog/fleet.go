package catalog

import (
	"context"
	"fmt"
	"iter"
	"strconv"

	"github.com/tenantry/tenantry/migrator"
)

// Tenants yields the tenants that migrations are for, active and suspended ones: a
// Catalog is the fleet of the migrator. It reads them by one query, before it
// yields the first.
func (c *Catalog) Tenants(ctx context.Context) iter.Seq2[migrator.Tenant, error] {
	return func(yield func(migrator.Tenant, error) bool) {
		var rows []tenantRow
		err := c.db.WithContext(ctx).Select("id", "server", "labels", "created_at").
			Where("state in ?", []State{Active, Suspended}).Order("id").Find(&rows).Error
		if err != nil {
			yield(migrator.Tenant{}, fmt.Errorf("catalog: list the tenants: %w", err))
			return
		}
		for i := range rows {
			if !yield(rows[i].member(), nil) {
				return
			}
		}
	}
}

// member returns the tenant as the migrator sees it.
func (r *tenantRow) member() migrator.Tenant {
	return migrator.Tenant{
		ID: r.id(), Server: r.ServerName, Labels: r.Labels,
		Incarnation: strconv.FormatInt(r.CreatedAt.UnixMicro(), 36),
	}
}
