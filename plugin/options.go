package plugin

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/internal/driver"
	"github.com/tenantry/tenantry/internal/guard"
)

// Option changes what [New] builds.
type Option func(*config) error

type config struct {
	maxConns int32
	hooks    []func(*pgxpool.Config) error
	comments bool
	tuning   driver.Tuning
	trusted  []string
}

// WithMaxConns sets how many connections the base pool opens at most. Tenants share them as
// [WithTenantShare] says. The default is what SetMaxOpenConns was called with before db.Use, or else
// pgxpool's: the larger of 4 and the number of CPUs.
func WithMaxConns(n int) Option {
	return func(c *config) error {
		if n < 1 || n > 1<<15 {
			return fmt.Errorf("plugin: WithMaxConns: %d is not between 1 and %d", n, 1<<15)
		}
		c.maxConns = int32(n)
		return nil
	}
}

// WithPoolConfig calls f with the configuration of the base pool before it is
// opened: the place for a tracer (ConnConfig.Tracer), lifetimes, TLS, or hooks
// that register types. It may be given more than once; each sees what the
// earlier ones did. Set cfg.BeforeConnect to fetch a password that expires, such as a token
// of RDS IAM, before each connection, and open GORM with DisableAutomaticPing: its ping comes
// before the plugin. The query mode and the default search_path are set after f
// and can't be changed. An error of f is an error of db.Use.
func WithPoolConfig(f func(*pgxpool.Config) error) Option {
	return func(c *config) error {
		if f == nil {
			return errors.New("plugin: WithPoolConfig: the function is nil")
		}
		c.hooks = append(c.hooks, f)
		return nil
	}
}

// WithSQLComment adds the tenant to the text of each of its statements, as a comment
// in sqlcommenter's form, /*tenant='acme'*/: then pg_stat_activity, the server's log and
// auto_explain show whose a statement is. BEGIN and COMMIT have none, and neither have
// statements under scope.Shared, nor those that a function given to [WithConn] sends. A
// comment of the text's own stays, and this one stands behind it. A tracer sees it too.
// pg_stat_statements counts a statement of all tenants as one, and shows the comment that
// it has seen first. The default is none.
func WithSQLComment() Option {
	return func(c *config) error {
		c.comments = true
		return nil
	}
}

// WithHotStatements sets how many statements each connection of the base pool keeps
// planned at the server. A statement is kept for one tenant, once that tenant has sent
// it several times lately, with one schema in its search_path, and if its times and
// floating-point numbers are for timestamptz and numeric columns, as GORM makes them; in a
// transaction that has begun only without string constants in its text, and without a SET
// LOCAL before it. Of more statements than n those stay that are sent most. The default is
// 1000, which takes some 16 kB of the server's memory each; a statement counts once more for
// each 100 bytes of its text, and for each 16 columns of its result. 0 keeps none, and leaves
// nothing at all in the session. Behind a transaction pooler it is 0 in any case.
func WithHotStatements(n int) Option {
	return func(c *config) error {
		if n < 0 {
			return fmt.Errorf("plugin: WithHotStatements: %d is negative", n)
		}
		c.tuning.HotStatements = n
		return nil
	}
}

// WithTenantsPerConn sets how many tenants each connection of the base pool serves
// before it is closed, because a server process never gives back what it has read of a
// tenant's tables. The default is 1000. A statement prefers an idle connection that has served
// its tenant before, so that the tenants of a connection stay few. 0 turns both off:
// then any connection serves any tenant, and all of them in the end.
//
// Hooks and tracers of the pool that are called when a connection is taken or given back
// (PrepareConn, BeforeAcquire, AfterRelease, ShouldPing, AcquireTracer, ReleaseTracer) turn the
// preference off, and leave the limit.
func WithTenantsPerConn(n int) Option {
	return func(c *config) error {
		if n < 0 {
			return fmt.Errorf("plugin: WithTenantsPerConn: %d is negative", n)
		}
		c.tuning.TenantsPerConn = n
		return nil
	}
}

// WithTenantShare sets the fraction of the base pool's connections that one tenant may hold at any
// time, and the fraction beyond which it gets no more while other tenants wait. Both are rounded
// up to whole connections. The defaults are 0.75 and 0.5. Requests that wait take turns by
// tenant, with either. The shared scope counts as a tenant.
//
// A request that needs a second connection to finish may wait as long as other tenants do.
func WithTenantShare(most, contended float64) Option {
	return func(c *config) error {
		if !(0 < contended && contended <= most && most <= 1) {
			return fmt.Errorf("plugin: WithTenantShare: want 0 < contended (%g) <= most (%g) <= 1", contended, most)
		}
		c.tuning.MostShare, c.tuning.ContendedShare = most, contended
		return nil
	}
}

// WithTrustedCallback lets another plugin replace the callback of that name, such as
// "gorm:query", with its own: without it, db.Use and each statement fail with
// [ErrReplacedCallback]. It may be given more than once. The default is none.
//
// A callback in the place of GORM's own decides which rows a tenant sees. One that answers
// from a cache must fail without a tenant, and have the tenant in its keys: scope.Key
// does both.
func WithTrustedCallback(name string) Option {
	return func(c *config) error {
		if !guard.IsCallback(name) {
			return fmt.Errorf("plugin: WithTrustedCallback: GORM has no callback %q of its own", name)
		}
		c.trusted = append(c.trusted, name)
		return nil
	}
}

func (c *config) apply(p *pgxpool.Config) error {
	if c.maxConns > 0 {
		p.MaxConns = c.maxConns
	}
	for _, f := range c.hooks {
		if err := f(p); err != nil {
			return fmt.Errorf("plugin: WithPoolConfig: %w", err)
		}
	}
	return nil
}
