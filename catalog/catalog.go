package catalog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/plugin"
)

// atWork is how many tenants one catalog makes or drops at a time. Each keeps one
// connection to the master open besides those of its statements, and the server's
// log and catalog bound the rest.
const atWork = 4

// Catalog knows the tenants of a service. Make one with [Open] for each process
// and master database. It is safe for concurrent use.
type Catalog struct {
	config

	dsn      func() string // of the master, for Pools; fmt can't look into a function
	identity string        // of the master, in marks and names
	names    reservedNames
	ring     ring
	master   *master
	lookups  *master  // for lookups alone
	db       *gorm.DB // on master
	pools    *plugin.Pools
	cache    *cache
	work     *semaphore.Weighted
	blanks   templates
	stirred  chan struct{} // somebody has taken a spare

	listening atomic.Bool

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	owned  sync.WaitGroup // goroutines
}

// Open opens the catalog in the database that dsn names, and makes its tables or
// brings them up to date. dsn logs in as an administrator: a role that may
// create schemas, and databases and roles if tenants have their own. Let GORM log in as
// another, see [WithServingRole]. Where a
// pooler stands in front of the database, connect past it: through one there are
// no notifications, and changes by other processes are seen only after the TTL.
//
// The catalog opens up to 13 connections of its own to the master database, and 3 more
// [WithSpares]. Close
// it when no statement for its tenants runs any more. ctx bounds opening only.
func Open(ctx context.Context, dsn string, opts ...Option) (*Catalog, error) {
	cfg, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	pools, err := plugin.NewPools(cfg.pools...)
	if err != nil {
		return nil, fmt.Errorf("catalog: WithPools: %w", err)
	}
	c := &Catalog{
		config: cfg, dsn: func() string { return dsn }, pools: pools,
		names: newReserved(cfg.reserved),
		ring:  ring{keys: cfg.keys},
		work:  semaphore.NewWeighted(atWork), stirred: make(chan struct{}, 1),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.cache = newCache(cfg.ttl)
	if err := c.open(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	c.owned.Go(c.listen)
	if len(c.spares) > 0 {
		c.owned.Go(c.keepSpares)
	}
	return c, nil
}

func (c *Catalog) open(ctx context.Context) (err error) {
	conns := int32(masterConns)
	if len(c.spares) > 0 {
		conns += spareConns
	}
	if c.master, err = c.openMaster(ctx, conns); err != nil {
		return err
	}
	if c.lookups, err = c.openMaster(ctx, lookupConns); err != nil {
		return err
	}
	c.db = c.master.db
	if c.identity, err = makeTables(ctx, c.db); err != nil {
		return err
	}
	if err := c.registerMain(ctx); err != nil || c.serving == "" {
		return err
	}
	return c.openToServing(ctx)
}

// Close closes the catalog's connections, to the master and to all places of its
// tenants, and waits until those in use are given back. Tenants that are being
// made are undone, which may take up to 30 seconds; other calls under way are waited
// for. It is safe to call it more than once.
func (c *Catalog) Close() error {
	c.cache.close()
	c.cancel()
	c.owned.Wait()
	_ = c.work.Acquire(context.Background(), atWork) // until what was cut off is undone
	defer c.work.Release(atWork)
	return errors.Join(c.pools.Close(), c.lookups.close(), c.master.close())
}

// Format writes that it is a catalog, whatever the verb: it holds secrets.
func (c *Catalog) Format(f fmt.State, _ rune) { fmt.Fprint(f, "tenantry catalog") }

// Ping asks the master database for a sign of life.
func (c *Catalog) Ping(ctx context.Context) error {
	if err := c.master.Ping(ctx); err != nil {
		return fmt.Errorf("catalog: the master database: %w", err)
	}
	return nil
}
