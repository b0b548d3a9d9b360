package catalog

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/internal/driver"
	"github.com/tenantry/tenantry/internal/pgerr"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// Strategy returns the strategy that places each tenant where the catalog says:
// in a schema of the master database, in a schema of another server's shared
// database, or in a database of its own, side by side. The *gorm.DB that it is
// used on must be open on the master database, directly or through a pooler, as the
// role of [WithServingRole], or without one as the role that the catalog was opened as. The shared
// scope is the schema public of the master database.
//
// Migrations run as the administrator, who owns the tables. The strategy's
// connections beyond the base pool are the catalog's, which closes them.
func (c *Catalog) Strategy() plugin.Strategy {
	return &strategy{catalog: c, shared: plugin.BySchema()}
}

type strategy struct {
	catalog *Catalog
	shared  plugin.Strategy
}

// Format writes that it is a catalog's strategy, whatever the verb.
func (s *strategy) Format(f fmt.State, _ rune) { fmt.Fprint(f, "tenantry catalog's strategy") }

// PlaceShared places the shared scope.
func (s *strategy) PlaceShared(ctx context.Context, base *pgxpool.Pool) (plugin.Placement, error) {
	return s.shared.PlaceShared(ctx, base)
}

// PoolStats returns the state of the connections beyond the base pool.
func (s *strategy) PoolStats() []plugin.ServerStats { return s.catalog.pools.Stats() }

// Place places a tenant.
func (s *strategy) Place(ctx context.Context, base *pgxpool.Pool, t scope.Tenant) (plugin.Placement, error) {
	r, err := s.catalog.find(ctx, idRef(t))
	if err != nil {
		return plugin.Placement{}, err
	}
	p, err := s.place(ctx, base, r)
	if err == nil || !pgerr.Is(err, pgerr.InvalidPassword, pgerr.InvalidAuthorizationSpecification) || !r.doubt() {
		return p, err
	}
	// The password may have changed, and the record is older.
	s.catalog.cache.invalidate(r)
	again, err2 := s.catalog.find(ctx, idRef(t))
	if err2 != nil || again.database == r.database {
		return p, err
	}
	return s.place(ctx, base, again)
}

func (s *strategy) place(ctx context.Context, base *pgxpool.Pool, r *record) (p plugin.Placement, err error) {
	migrating := plugin.Migrating(ctx)
	if err := r.refusal(migrating); err != nil {
		return p, err
	}
	if r.err != nil {
		return p, r.err
	}
	settings := r.settings
	switch {
	case migrating && r.onMain && driver.Base(ctx) != nil: // the migrator's own, see migrator.WithDirect
		settings = r.path
		p.Pool = base
	case migrating:
		settings = r.path
		p, err = s.catalog.pools.PlaceWith(ctx, r.admin, s.catalog.before(r.server, r.admin))
	case r.onMain:
		p.Pool = base
	default:
		p, err = s.catalog.pools.PlaceWith(ctx, r.database, s.catalog.before(r.server, r.database))
	}
	p.Schema, p.Managed, p.Settings = r.schema, true, settings
	return p, err
}
