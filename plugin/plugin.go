package plugin

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/driver"
	"github.com/tenantry/tenantry/internal/guard"
	"github.com/tenantry/tenantry/internal/option"
)

// Plugin is a gorm.Plugin for one database. It is safe for concurrent use.
type Plugin struct {
	strategy Strategy
	config   config
	err      error // of New, reported by Initialize
	counters driver.Counters

	mu    sync.Mutex // guards what Initialize sets; not held while closing
	sql   *sql.DB
	base  *driver.SharedPool
	guard *guard.Guard
}

var _ gorm.Plugin = (*Plugin)(nil)

// New returns a plugin that places tenants by strategy. Errors in the arguments
// are reported by db.Use. A Plugin serves one database: make another for
// another.
func New(strategy Strategy, opts ...Option) *Plugin {
	p := &Plugin{strategy: strategy, config: config{tuning: driver.DefaultTuning()}}
	if strategy == nil {
		p.err = errors.New("plugin: the strategy is nil: pass plugin.BySchema() or your own")
	}
	if s, ok := strategy.(interface{ check() error }); ok {
		p.err = errors.Join(p.err, s.check())
	}
	p.err = errors.Join(p.err, option.Apply("plugin", &p.config, opts))
	return p
}

// Name returns the name under which GORM keeps the plugin. It refuses a second
// plugin of that name with gorm.ErrRegistered.
func (p *Plugin) Name() string { return "tenantry" }

// Initialize puts the plugin's pool into db. Call it through db.Use, on the
// *gorm.DB that gorm.Open returned and before any session is made from it: an
// older session keeps the pool it has, which is closed if GORM opened it.
//
// It takes the configuration of the database that GORM has open, which must be
// PostgreSQL by pgx; it dials only if GORM was given a ready-made *sql.DB, to
// read the configuration from it, and it never closes that one. The hooks of a pgxpool
// below a ready-made *sql.DB run for the plugin's connections, too; a *sql.DB with other
// hooks, such as stdlib.OptionBeforeConnect, or with a connector that is not pgx's, is
// refused: use [WithPoolConfig].
//
// It returns [ErrForeignPool] if gorm.io/plugin/dbresolver is registered on db, and
// [ErrReplacedCallback] if another plugin has replaced a callback of GORM's. Callbacks
// before and after GORM's own, as of tracing plugins, are welcome in any order.
func (p *Plugin) Initialize(db *gorm.DB) error {
	if p.err != nil {
		return p.err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.guard != nil {
		if err := p.guard.RefuseResolver(); err != nil {
			return err
		}
	}
	if p.sql != nil {
		return errors.New("plugin: this plugin is registered already; make another with plugin.New for another database")
	}
	source, err := openedBy(db)
	if err != nil {
		return err
	}
	if err := p.open(source.config); err != nil {
		return err
	}
	if err := guard.Install(db, p.sql, p.config.trusted...); err != nil {
		return errors.Join(err, p.sql.Close())
	}
	p.guard, _ = guard.Of(db)
	return source.release()
}

// open opens the base pool, and the *sql.DB whose connections find their tenant.
func (p *Plugin) open(cfg *pgxpool.Config) error {
	if err := p.config.apply(cfg); err != nil {
		return err
	}
	base, err := driver.OpenShared(context.Background(), cfg, p.config.tuning)
	if err != nil {
		return fmt.Errorf("plugin: open the base pool: %w", err)
	}
	p.base = base
	p.sql = sql.OpenDB(&driver.Connector{
		Locator:  locator{strategy: p.strategy, base: base.Pgx()},
		Base:     base.Pgx(),
		Shared:   base,
		Comments: p.config.comments,
		Counters: &p.counters,
		OnClose:  func() error { return errors.Join(base.Close(), closeStrategy(p.strategy)) },
	})
	// Shells cost nothing: as many may lie idle as there are real connections.
	p.sql.SetMaxIdleConns(int(cfg.MaxConns))
	return nil
}

func closeStrategy(s Strategy) error {
	if c, ok := s.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// Close closes every pool that the plugin has opened, and the strategy if it is
// an io.Closer. For each of the two it waits up to three seconds for statements, open rows and
// transactions. Then it cuts their connections: a statement at work gets an error, and if somebody
// does not close rows, a transaction or a connection within another second, Close returns an error.
// Further statements fail. It is safe to call Close more than once and from several goroutines;
// closing the *sql.DB of db.DB() does the same.
func (p *Plugin) Close() error {
	p.mu.Lock()
	pool := p.sql
	p.mu.Unlock()
	if pool == nil {
		return nil
	}
	return pool.Close()
}
