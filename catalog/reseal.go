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
// the key ring of every process; before, the newest key must be in all of them, or
// some can't open what it seals. What can't be resealed does not keep it from the
// rest: the error joins what went wrong. It may be cut off and called again.
func (c *Catalog) Reseal(ctx context.Context) (int, error) {
	key, err := c.ring.newest(ctx)
	if err != nil {
		return 0, err
	}
	servers, err := resealAll(ctx, c, key, "conn", "name", func(r *serverRow) (string, purpose, *sealed) {
		return r.Name, connStringOf(r.Name), &r.Conn
	})
	serving, err4 := resealAll(ctx, c, key, "serving_conn", "name", func(r *serverRow) (string, purpose, *sealed) {
		return r.Name, servingConnOf(r.Name), &r.ServingConn
	})
	// Spares before tenants, which they may become meanwhile.
	spares, err2 := resealAll(ctx, c, key, "password", "name", func(r *spareRow) (string, purpose, *sealed) {
		return r.Name, sparePasswordOf(r.Name), &r.Password
	})
	tenants, err3 := resealAll(ctx, c, key, "password", "id", func(r *tenantRow) (string, purpose, *sealed) {
		return r.ID, passwordOf(r.ID), &r.Password
	})
	return servers + serving + spares + tenants, errors.Join(err, err2, err3, err4)
}

// resealAll goes through the rows of one table in the order of their id, one
// transaction for each. One that can't be resealed does not stop it.
func resealAll[R any](ctx context.Context, c *Catalog, key Key, column, id string, of func(*R) (string, purpose, *sealed)) (n int, err error) {
	var errs []error
	for last, more := "", true; more; {
		before, changed := last, false
		err := c.db.WithContext(ctx).Transaction(func(tx *gorm.DB) (err error) {
			var row R
			lock := clause.Locking{Strength: "NO KEY UPDATE"}
			if err := tx.Clauses(lock).Where(id+" > ?", last).Order(id).Take(&row).Error; err != nil {
				return err
			}
			name, p, secret := of(&row)
			last = name
			if changed, err = c.resealOne(ctx, key, p, secret); err != nil || !changed {
				return err
			}
			return tx.Model(&row).UpdateColumn(column, *secret).Error
		})
		switch more = last != before; {
		case err == nil && changed:
			n++
		case err != nil && !errors.Is(err, gorm.ErrRecordNotFound):
			errs = append(errs, fmt.Errorf("catalog: reseal what belongs to %q: %w", last, err))
		}
	}
	return n, errors.Join(errs...)
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
