package catalog_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// between is a strategy that calls then when a tenant has been placed, before
// anything is done there. It does so once.
type between struct {
	plugin.Strategy
	once sync.Once
	then func()
}

func (b *between) Place(ctx context.Context, base *pgxpool.Pool, t scope.Tenant) (plugin.Placement, error) {
	p, err := b.Strategy.Place(ctx, base, t)
	b.once.Do(b.then)
	return p, err
}

func TestTheMigratorDoesNotMakeADroppedTenantAgain(t *testing.T) {
	t.Parallel()
	for _, kind := range []catalog.Kind{catalog.OwnSchema, catalog.OwnDatabase} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			c, _, dsn := service(t)
			pool, id := admin(t, dsn), unique("dropped")
			create(t, c, catalog.New{ID: id, Kind: kind})
			db, err := gorm.Open(postgres.Open(dsn), &gorm.Config{Logger: logger.Discard})
			if err != nil {
				t.Fatal(err)
			}
			p := plugin.New(&between{Strategy: c.Strategy(), then: func() {
				if err := c.Drop(t.Context(), parse(t, id), id); err != nil {
					t.Error(err)
				}
			}})
			if err := db.Use(p); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := p.Close(); err != nil {
					t.Error(err)
				}
			})
			_, err = migrator.New(db, migrator.List{parse(t, id)}, append(migrations(), second())).Run(t.Context())
			if err == nil || kind == catalog.OwnSchema && sqlState(err) != "3F000" && !errors.Is(err, catalog.ErrUnknown) {
				t.Errorf("got error %v", err)
			}
			mustMatch(t, c, pool, id)
		})
	}
}
