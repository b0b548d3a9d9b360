package catalog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/option"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// Option changes what [Open] opens.
type Option func(*config) error

type config struct {
	keys        Keys
	migrations  migrator.Migrations
	gorm        gorm.Config // of the *gorm.DB that the migrations get
	roles       bool
	serving     string // who tenants' statements log in as on the master's server; "" is the administrator
	moved       bool
	noTemplates bool
	spares      map[Kind]int // that are wanted on each server
	shared      []string     // schemas behind each tenant's own
	reserved    []string
	choose      ServerChoice
	ttl         time.Duration
	pools       []plugin.PoolsOption
	hook        func(context.Context, string, *pgx.ConnConfig) error
	logger      *slog.Logger
}

// WithMigrations sets what makes the tables of a new tenant, before the tenant becomes
// active: the list that the migrator runs for the fleet. They run as the administrator,
// by migrator.Migrations.Apply, under the rules of that: with the tenant on the context,
// or without one when a spare or a template database is made. A tenant with a database of
// its own gets a copy of one in which they ran once, with all that they generated there:
// see [WithoutTemplates]. The default is nothing: a new tenant then has no tables until the
// migrator has run.
func WithMigrations(m migrator.Migrations) Option {
	return func(c *config) error {
		if len(m) == 0 {
			return errors.New("catalog: WithMigrations: there are no migrations")
		}
		c.migrations = m
		return nil
	}
}

// WithGORMConfig sets the configuration of the *gorm.DB that the migrations of a new tenant
// get. Give it what gorm.Open got for the service's own, which the migrator uses for the
// fleet: with another NamingStrategy AutoMigrate would make tables of other names for new
// tenants. Its Logger sees the statements of migrations; the default logs nothing. The
// catalog copies cfg, and leaves out its connection pool and plugins.
func WithGORMConfig(cfg *gorm.Config) Option {
	return func(c *config) error {
		if cfg == nil {
			return errors.New("catalog: WithGORMConfig: the configuration is nil")
		}
		c.gorm = *cfg
		return nil
	}
}

// WithKeys sets the key ring that seals passwords and connection strings. The
// default is that of EnvKeys(DefaultKeysVariable).
func WithKeys(k Keys) Option {
	return func(c *config) error {
		if k == nil {
			return errors.New("catalog: WithKeys: the key ring is nil")
		}
		if fixed, ok := k.(FixedKeys); ok {
			if err := checkRing(fixed); err != nil {
				return err
			}
		}
		c.keys = k
		return nil
	}
}

// WithRoles gives each tenant that is created from now on with a schema of its
// own a PostgreSQL role of its own, too. Its statements run as that role, which
// has rights on its own schema only: the server itself then refuses another
// tenant's tables. Tenants with a database of their own have a login of their own
// in any case. See docs/security.md for what a role stops and what it does not.
// Use it together with [WithMigrations]: a role may also write to a list of applied
// migrations that is not there yet when the tenant is made.
func WithRoles() Option {
	return func(c *config) error { c.roles = true; return nil }
}

// WithServingRole names the role that GORM logs in as, where that is another one than the
// catalog's: the catalog administers, and tenants' statements run as the other login, who
// may create neither roles nor databases and reads no table of the catalog. The
// *gorm.DB is opened with that login's connection string, [Open] with the administrator's.
//
// The catalog gives the role what statements need, and no more: of each tenant with a
// role of its own the right to SET ROLE to it, of the others with a schema the right to
// read and write rows there, and the same in the schema public of the master database for
// the shared scope. Migrations run as the administrator, whom the migrator gets from
// the catalog. [Catalog.Repair] gives the role its rights on tenants from before. Tenants
// with a database have logins of their own. For other servers see
// NewServer.ServingConnString. Use it together with [WithMigrations]: the role may also write
// to a tenant's list of applied migrations that is not there yet when the tenant is made.
//
// Open refuses a role that could administer: a superuser, one with CREATEROLE or
// CREATEDB, and a member of the administrator. The default is one login for both.
func WithServingRole(name string) Option {
	return func(c *config) error {
		if name == "" || len(name) > 63 || strings.ContainsRune(name, 0) {
			return fmt.Errorf("catalog: WithServingRole: %q is no name of a role: name the one that GORM logs in as", name)
		}
		c.serving = name
		return nil
	}
}

// WithSharedSchemas adds schemas behind the tenant's own in the search_path of
// each tenant that has a schema, in this order. The default is none. See
// [plugin.WithSharedSchemas].
func WithSharedSchemas(names ...string) Option {
	return func(c *config) error {
		if _, err := plugin.SearchPath(names...); err != nil {
			return fmt.Errorf("catalog: WithSharedSchemas: %w", err)
		}
		c.shared = append(c.shared, names...)
		return nil
	}
}

// WithReserved adds names that no customer may take: ids, subdomains, or domains
// together with all that lies below them. Reserve the domains of the service
// itself. [Reserved] lists what is reserved anyway.
func WithReserved(names ...string) Option {
	return func(c *config) error {
		for _, n := range names {
			_, notID := scope.Parse(n)
			if host, err := ParseHost(n); notID != nil && (err != nil || host.Name != n) {
				return fmt.Errorf("catalog: WithReserved: %q is neither an id, a subdomain nor a domain in lower case", n)
			}
		}
		c.reserved = append(c.reserved, names...)
		return nil
	}
}

// ServerChoice chooses a server for a new tenant, by name. The servers are those
// with room, at least one; they come in the order of their names.
type ServerChoice func(ctx context.Context, n New, servers []Server) (string, error)

// WithServerChoice sets how a server is chosen for a new tenant that names none.
// The default is the one with the fewest tenants. The master database is locked
// against other sign-ups meanwhile: the function answers at once.
func WithServerChoice(f ServerChoice) Option {
	return func(c *config) error {
		if f == nil {
			return errors.New("catalog: WithServerChoice: the function is nil")
		}
		c.choose = f
		return nil
	}
}

// WithMovedMaster accepts that the master database is now in another place than
// the one that it recorded: it was renamed, or restored on another server, for good.
// Without it Open returns [ErrMoved], because a copy for tests knows the same
// tenants on the same servers, and would drop those of the original.
func WithMovedMaster() Option {
	return func(c *config) error { c.moved = true; return nil }
}

// WithoutTemplates makes each database by running the migrations, and not as a copy
// of a template. Use it when migrations generate what must differ from tenant to
// tenant, such as secrets: a copy has the template's.
func WithoutTemplates() Option {
	return func(c *config) error { c.noTemplates = true; return nil }
}

// WithSpares keeps n spares of a kind ready on each server: schemas or databases that
// are migrated in advance, with role, login and password, so that a sign-up only has to
// take one. They are made one at a time, in the background, and each is taken by exactly
// one sign-up. Where none is ready, or only of other migrations or options, [Catalog.Create]
// makes everything, as ever. Give it once for each kind. The default is none to be kept;
// 0 also drops those that are there once they are an hour old.
//
// The migrations of a spare run without a tenant on the context, as for a template
// database: if they fail so, there are no spares. What they generate is each spare's
// own, but for databases that are copied: see [WithoutTemplates]. Spares take nothing from the
// capacity of a server, and one that is full has none.
func WithSpares(kind Kind, n int) Option {
	return func(c *config) error {
		if kind != OwnSchema && kind != OwnDatabase {
			return fmt.Errorf("catalog: WithSpares: the kind %q is neither OwnSchema nor OwnDatabase", kind)
		}
		if n < 0 {
			return fmt.Errorf("catalog: WithSpares: %d is negative", n)
		}
		if c.spares == nil {
			c.spares = map[Kind]int{}
		}
		c.spares[kind] = n
		return nil
	}
}

// WithTTL sets how long a tenant is served from memory before it is read again.
// The default is 30 seconds. Changes are seen at once where notifications can be
// had; the TTL counts where they can't, as behind PgBouncer.
func WithTTL(d time.Duration) Option {
	return func(c *config) error {
		if d <= 0 {
			return fmt.Errorf("catalog: WithTTL: %s is not positive", d)
		}
		c.ttl = d
		return nil
	}
}

// WithPools sets options of the pool map, in which the tenants have their
// connections that do not live in the master database.
func WithPools(opts ...plugin.PoolsOption) Option {
	return func(c *config) error { c.pools = append(c.pools, opts...); return nil }
}

// WithBeforeConnect calls f before each connection that the catalog opens: to the master
// database, to administer the servers, and for tenants that are not in the base pool. It
// is how to log in with a token that expires, or through a connector: server is the
// server's name, [Main] for the master's own, cc.User tells whose login it is, and cc is
// the connection's alone. f may set Password, DialFunc, TLSConfig, Host and Fallbacks, and
// what else is no matter of who logs in where: another User or Database is an error.
// Tenants with a database have logins of their own, with passwords that the catalog has made:
// f sees their connections, for a connector's sake, and a Password that it sets there
// does not count.
//
// f is called from many goroutines at once. Its ctx ends after 10 seconds at most. An
// error of f is an error of whatever needs the connection; its text is shown, so it must
// not hold a secret. If f is given twice the last one counts. The base pool is GORM's own: see
// [plugin.WithPoolConfig]. What [Catalog.Direct] returns for the migrator calls f, too.
func WithBeforeConnect(f func(ctx context.Context, server string, cc *pgx.ConnConfig) error) Option {
	return func(c *config) error {
		if f == nil {
			return errors.New("catalog: WithBeforeConnect: the function is nil")
		}
		c.hook = f
		return nil
	}
}

// WithLogger sets where the catalog logs: what it repairs or can't do as
// warnings, each step of a sign-up at debug level. The default is
// slog.Default(). Secrets are never logged.
func WithLogger(l *slog.Logger) Option {
	return func(c *config) error {
		if l == nil {
			return errors.New("catalog: WithLogger: the logger is nil")
		}
		c.logger = l
		return nil
	}
}

// defaultTTL is how long a tenant is served from memory.
const defaultTTL = 30 * time.Second

func newConfig(opts []Option) (config, error) {
	c := config{choose: fewestTenants, ttl: defaultTTL, logger: slog.Default()}
	err := option.Apply("catalog", &c, opts)
	if c.keys == nil {
		var env FixedKeys
		var envErr error
		env, envErr = EnvKeys(DefaultKeysVariable)
		c.keys, err = env, errors.Join(err, envErr)
	}
	return c, err
}
