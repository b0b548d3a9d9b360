package plugin

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/internal/driver"
	"github.com/tenantry/tenantry/scope"
)

// Strategy says where tenants live. Its methods are called for every checkout
// of a connection, from many goroutines at once, and must answer from memory in
// the usual case. base is the pool of the database that GORM was opened on. An
// error ends the statement before anything is sent.
//
// A strategy may have two methods more. If it is an io.Closer, it is closed with
// the plugin, or with the *sql.DB of db.DB(), after the base pool: a strategy
// that keeps pools of its own must be, and serves one plugin. If it has the
// method PoolStats() []ServerStats, [Plugin.Stats] calls it.
type Strategy interface {
	// Place returns where t's statements run.
	Place(ctx context.Context, base *pgxpool.Pool, t scope.Tenant) (Placement, error)

	// PlaceShared returns where the statements of scope.Shared run: the tables
	// that belong to no tenant.
	PlaceShared(ctx context.Context, base *pgxpool.Pool) (Placement, error)
}

// Placement is a place and what holds there for each statement or transaction.
type Placement struct {
	// Pool is base, or a pool whose configuration went through [PreparePool].
	// It stays the strategy's, which closes it.
	Pool *pgxpool.Pool

	// Schema is a schema that must exist: if it does not, the statement is
	// refused with PostgreSQL's 3F000. Without this check PostgreSQL passes over
	// a missing schema in search_path and goes on to the next. Empty means that
	// there is nothing to check.
	Schema string

	// Managed says that whoever makes tenants makes the schema, too: then the
	// migrator does not create it when it is missing, and its transaction ends
	// with 3F000 like any other.
	Managed bool

	// Settings are set in this order for the one statement or transaction.
	Settings []Setting

	// Lease is told when the pool is no longer in use for this placement, so
	// that it isn't closed before. Nil if nobody needs to know.
	Lease Lease
}

// Lease says that a pool is in use: from the time when a [Strategy] returned it
// in a [Placement] until Release is called. Each placement has a Lease of its
// own. Its methods must not block.
type Lease interface {
	// Keep is called once before the connection goes back to the pool, and not at
	// all if none could be had. It reports whether the pool may have the
	// connection; otherwise the connection is closed.
	Keep() bool

	// Release is called once, last: the connection has gone back or is closed, or
	// could not be had.
	Release()
}

// Setting is a run-time setting of PostgreSQL, such as search_path or role, or
// a custom one such as app.tenant for row level security. Names are lower case.
type Setting struct{ Name, Value string }

// PreparePool changes cfg so that a [Strategy] may place tenants in the pool
// opened with it. Hooks that are set already stay and run first. Call it once
// for each configuration, last, and do not change the hooks afterwards.
func PreparePool(cfg *pgxpool.Config) { driver.PreparePool(cfg, driver.DefaultTuning()) }

// locator is a Strategy as the driver sees it.
type locator struct {
	strategy Strategy
	base     *pgxpool.Pool
}

func (l locator) Locate(ctx context.Context, s driver.Scope) (driver.Target, error) {
	p, err := l.place(ctx, s)
	if err != nil {
		return driver.Target{}, err
	}
	t := driver.Target{Pool: p.Pool, Schema: p.Schema, Managed: p.Managed, Lease: p.Lease, Settings: make([]driver.Setting, len(p.Settings))}
	for i, s := range p.Settings {
		t.Settings[i] = driver.Setting(s)
	}
	return t, nil
}

func (l locator) place(ctx context.Context, s driver.Scope) (Placement, error) {
	base := l.base
	if own := driver.Base(ctx); own != nil { // the migrator's
		base = own
	}
	if s.Shared {
		return l.strategy.PlaceShared(ctx, base)
	}
	return l.strategy.Place(ctx, base, s.Tenant)
}
