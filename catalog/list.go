package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"

	"gorm.io/gorm"

	"github.com/tenantry/tenantry/scope"
)

// Get returns a tenant from the master database, or [ErrUnknown].
func (c *Catalog) Get(ctx context.Context, t scope.Tenant) (Tenant, error) {
	row, err := c.row(ctx, t)
	if err != nil {
		return Tenant{}, err
	}
	return row.public(), nil
}

func (c *Catalog) row(ctx context.Context, t scope.Tenant) (*tenantRow, error) {
	var row tenantRow
	err := whole(c.db.WithContext(ctx)).Take(&row, "id = ?", t.String()).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return nil, fmt.Errorf("%w tenant %q", ErrUnknown, t)
	}
	if err != nil {
		return nil, &scope.TenantError{Op: "read the catalog", Tenant: t, Err: err}
	}
	return &row, nil
}

// whole loads what belongs to a tenant.
func whole(db *gorm.DB) *gorm.DB {
	return db.Preload("Server").Preload("Hosts", func(db *gorm.DB) *gorm.DB { return db.Order("is_primary desc, name") })
}

// Filter selects tenants. The zero value selects all.
type Filter struct {
	States []State           // in one of these; none is any
	Server string            // on this server; "" is any
	Labels map[string]string // with all these labels and values
}

// page is how many tenants List reads at a time.
const page = 500

// List yields the tenants that f selects, in the order of their ids. It reads
// them page by page: no query or connection is held while the caller works, and
// what changes meanwhile is seen or not. After an error it ends.
func (c *Catalog) List(ctx context.Context, f Filter) iter.Seq2[Tenant, error] {
	return func(yield func(Tenant, error) bool) {
		last := ""
		for {
			rows, err := c.next(ctx, f, last)
			if err != nil {
				yield(Tenant{}, fmt.Errorf("catalog: list the tenants: %w", err))
				return
			}
			for _, row := range rows {
				if !yield(row.public(), nil) {
					return
				}
			}
			if len(rows) < page {
				return
			}
			last = rows[len(rows)-1].ID
		}
	}
}

// next returns the tenants behind the one with the id last.
func (c *Catalog) next(ctx context.Context, f Filter, last string) (rows []tenantRow, err error) {
	db := whole(c.db.WithContext(ctx)).Where("id > ?", last).Order("id").Limit(page)
	if len(f.States) > 0 {
		db = db.Where("state in ?", f.States)
	}
	if f.Server != "" {
		db = db.Where("server = ?", f.Server)
	}
	if len(f.Labels) > 0 {
		labels, err := json.Marshal(f.Labels)
		if err != nil {
			return nil, err
		}
		db = db.Where("labels @> ?::jsonb", string(labels))
	}
	return rows, db.Find(&rows).Error
}
