package plugin

import (
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/internal/option"
)

// PoolsOption changes what [NewPools] and [ByDatabase] build.
type PoolsOption func(*poolsConfig) error

type poolsConfig struct {
	budget   int
	perPlace int
	ttl      time.Duration
	hooks    []func(*pgxpool.Config) error
}

// WithBudget sets how many connections are open to one server at a time, for all
// its databases together. The default is 100, as PostgreSQL's max_connections
// (manual section 20.3): leave some of them to the base pool, to other processes
// and to administrators. Each server has a budget of its own, so that one that
// hangs can't take the connections of the tenants of another.
func WithBudget(n int) PoolsOption {
	return func(c *poolsConfig) error {
		if n < 1 || n > 1<<15 {
			return fmt.Errorf("plugin: WithBudget: %d is not between 1 and %d", n, 1<<15)
		}
		c.budget = n
		return nil
	}
}

// WithConnsPerDatabase sets how many connections one user has open to one
// database at most. The default is 4. It is never more than the budget.
func WithConnsPerDatabase(n int) PoolsOption {
	return func(c *poolsConfig) error {
		if n < 1 || n > 1<<15 {
			return fmt.Errorf("plugin: WithConnsPerDatabase: %d is not between 1 and %d", n, 1<<15)
		}
		c.perPlace = n
		return nil
	}
}

// WithIdleTTL sets for how long a pool that nobody uses stays open. The default is
// 5 minutes. Where the budget is short it is closed earlier.
func WithIdleTTL(d time.Duration) PoolsOption {
	return func(c *poolsConfig) error {
		if d <= 0 {
			return fmt.Errorf("plugin: WithIdleTTL: %s is not positive", d)
		}
		c.ttl = d
		return nil
	}
}

// WithDatabaseConfig calls f with the configuration of each pool before it is
// opened, as [WithPoolConfig] does for the base pool: from a goroutine of the
// pools', for several pools at once. It may be given more than once; each sees
// what the earlier ones did. What the pools count on is set after f and can't be
// changed: the query mode, the default search_path, MaxConns, MinConns and
// MinIdleConns. f must not lead to another server or database. An error of f is
// an error of the statements that wait for the pool.
func WithDatabaseConfig(f func(*pgxpool.Config) error) PoolsOption {
	return func(c *poolsConfig) error {
		if f == nil {
			return errors.New("plugin: WithDatabaseConfig: the function is nil")
		}
		c.hooks = append(c.hooks, f)
		return nil
	}
}

func newPoolsConfig(opts []PoolsOption) (poolsConfig, error) {
	c := poolsConfig{budget: 100, perPlace: 4, ttl: 5 * time.Minute}
	err := option.Apply("plugin", &c, opts)
	c.perPlace = min(c.perPlace, c.budget)
	return c, err
}
