package catalog

import (
	"context"
	"errors"
	"fmt"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// Reseal seals every password and connection string with the newest key that is
// not yet, and returns how many those were. Afterwards the older keys can go from
// the key ring of every process. It may be cut off and called again.
func (c *Catalog) Reseal(ctx context.Context) (int, error) {
	key, err := c.ring.newest(ctx)
	if err != nil {
		return 0, err
	}
	servers, err := resealAll(ctx, c, key, "conn", "name", func(r *serverRow) (string, purpose, *sealed) {
		return r.Name, connStringOf(r.Name), &r.Conn
	})
	if err != nil {
		return servers, err
	}
	tenants, err := resealAll(ctx, c, key, "password", "id", func(r *tenantRow) (string, purpose, *sealed) {
		return r.ID, passwordOf(r.ID), &r.Password
	})
	return servers + tenants, err
}

// resealAll goes through the rows of one table in the order of their id, one
// transaction for each.
func resealAll[R any](ctx context.Context, c *Catalog, key Key, column, id string, of func(*R) (string, purpose, *sealed)) (n int, err error) {
	for last := ""; ; {
		var row R
		var changed bool
		err := c.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
			lock := clause.Locking{Strength: "NO KEY UPDATE"}
			if err := tx.Clauses(lock).Where(id+" > ?", last).Order(id).Take(&row).Error; err != nil {
				return err
			}
			name, p, secret := of(&row)
			last = name
			var err error
			if changed, err = c.resealOne(ctx, key, p, secret); err != nil || !changed {
				return err
			}
			return tx.Model(&row).UpdateColumn(column, *secret).Error
		})
		if errors.Is(err, gorm.ErrRecordNotFound) {
			return n, nil
		}
		if err != nil {
			return n, fmt.Errorf("catalog: reseal what belongs to %q: %w", last, err)
		}
		if changed {
			n++
		}
	}
}

func (c *Catalog) resealOne(ctx context.Context, key Key, p purpose, s *sealed) (changed bool, err error) {
	if *s == nil {
		return false, nil
	}
	id, _, err := s.split()
	if err != nil || id == key.id {
		return false, err
	}
	plain, err := c.ring.open(ctx, p, *s)
	if err != nil {
		return false, err
	}
	*s, err = c.ring.seal(ctx, p, plain)
	return true, err
}
