package migrator

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/internal/driver"
	"github.com/tenantry/tenantry/internal/option"
)

const (
	// defaultConcurrency is how many tenants are migrated at a time. DDL is bound by
	// the server's log and catalog more than by its processors.
	defaultConcurrency = 4

	// defaultLockTimeout is how long a statement waits for a lock. Behind a waiting
	// ALTER TABLE every other statement on the table waits, too.
	defaultLockTimeout = 5 * time.Second

	// defaultLease is for how long a process that has not been heard of counts as
	// alive.
	defaultLease = 15 * time.Second
)

// Option changes what [New] builds.
type Option func(*config) error

type config struct {
	concurrency      int
	perServer        int // 0: as concurrency
	lockTimeout      time.Duration
	statementTimeout time.Duration // 0: none
	lease            time.Duration
	shared           Migrations
	direct           *pgxpool.Config // nil: the *gorm.DB's own
	unknown          bool
	progress         func(Event)
	logger           *slog.Logger
}

func newConfig(opts []Option) (config, error) {
	c := config{concurrency: defaultConcurrency, lockTimeout: defaultLockTimeout, lease: defaultLease, progress: func(Event) {}, logger: slog.Default()}
	err := option.Apply("migrator", &c, opts)
	c.progress = survived(c.progress, c.logger)
	return c, err
}

// WithConcurrency sets how many tenants this process migrates at a time. The
// default is 4. More than a tenant's pool has connections only wait for one.
func WithConcurrency(n int) Option {
	return func(c *config) error {
		if n < 1 {
			return fmt.Errorf("migrator: WithConcurrency: %d tenants at a time, at least 1 is needed", n)
		}
		c.concurrency = n
		return nil
	}
}

// WithServerConcurrency sets how many tenants of one server this process migrates
// at a time, see [Tenant.Server]. The default is as many as of all servers together.
func WithServerConcurrency(n int) Option {
	return func(c *config) error {
		if n < 1 {
			return fmt.Errorf("migrator: WithServerConcurrency: %d tenants at a time, at least 1 is needed", n)
		}
		c.perServer = n
		return nil
	}
}

// WithLockTimeout sets how long a statement of a migration waits for a lock:
// PostgreSQL's lock_timeout. The default is 5 seconds: an application's statements
// queue up behind an ALTER TABLE that waits. A tenant whose lock can't be had is
// tried again, up to five times. 0 waits without end.
func WithLockTimeout(d time.Duration) Option {
	return func(c *config) error {
		if err := checkTimeout(d); err != nil {
			return fmt.Errorf("migrator: WithLockTimeout: %w", err)
		}
		c.lockTimeout = d
		return nil
	}
}

// WithStatementTimeout sets how long a statement of a migration may take:
// PostgreSQL's statement_timeout. The default is 0, without end, whatever the
// server's or the role's setting is.
func WithStatementTimeout(d time.Duration) Option {
	return func(c *config) error {
		if err := checkTimeout(d); err != nil {
			return fmt.Errorf("migrator: WithStatementTimeout: %w", err)
		}
		c.statementTimeout = d
		return nil
	}
}

// checkTimeout refuses what PostgreSQL, which counts in milliseconds, would take
// for something else.
func checkTimeout(d time.Duration) error {
	if d < 0 || d%time.Millisecond != 0 || d > 1<<31*time.Millisecond-time.Millisecond {
		return fmt.Errorf("%s is not a number of milliseconds that PostgreSQL takes", d)
	}
	return nil
}

// WithShared sets the migrations of the tables that belong to no tenant, in the
// first schema of scope.Shared. Run applies them first, and alone: no process is at
// work on a tenant meanwhile. The default is none.
func WithShared(migrations Migrations) Option {
	return func(c *config) error {
		if err := checkMigrations(migrations); err != nil {
			return fmt.Errorf("migrator: WithShared: %w", err)
		}
		c.shared = migrations
		return nil
	}
}

// WithDirect sets the connection string that migrations and the ledger use in
// place of the *gorm.DB's: past a pooler, where [NoTransaction] needs it, or as
// another user, who owns the tables. It must lead to the same database, of which each
// call first makes sure, in three round trips. Tenants in other databases are reached as
// the strategy says. Where the password is a token that expires, pass tenants that are
// [Administered] in its place: their Direct returns a configuration with a
// BeforeConnect, which is called before each connection. The default is what [Administered] tenants know, and else the
// *gorm.DB's own.
func WithDirect(dsn string) Option {
	return func(c *config) error {
		cfg, err := driver.ParseConfig(dsn)
		if err != nil {
			return fmt.Errorf("migrator: WithDirect: %w", err)
		}
		c.direct = cfg
		return nil
	}
}

// WithUnknownMigrations allows tenants to have migrations that the list does not
// have, which is an *[UnknownError] by default: an older program then starts
// beside a newer one, as it must while a new version is rolled out or rolled back.
func WithUnknownMigrations() Option {
	return func(c *config) error {
		c.unknown = true
		return nil
	}
}

// WithProgress sets a function that is told each step of a run. It is called from
// one goroutine at a time, and holds up the run while it works. If it panics, that is
// logged, and the run goes on. The default is none.
func WithProgress(f func(Event)) Option {
	return func(c *config) error {
		if f == nil {
			return errors.New("migrator: WithProgress: the function is nil")
		}
		c.progress = f
		return nil
	}
}

// survived returns f so that its panics are no tenant's failure, and end no run.
func survived(f func(Event), l *slog.Logger) func(Event) {
	return func(e Event) {
		defer func() {
			if p := recover(); p != nil {
				l.Error("migrator: the function of WithProgress panicked", slog.String("event", string(e.Kind)), slog.Any("tenant", e.Tenant), slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
			}
		}()
		f(e)
	}
}

// WithLogger sets where runs are logged: their beginning and end and failures, and
// each tenant at debug level. The default is slog.Default().
func WithLogger(l *slog.Logger) Option {
	return func(c *config) error {
		if l == nil {
			return errors.New("migrator: WithLogger: the logger is nil")
		}
		c.logger = l
		return nil
	}
}
