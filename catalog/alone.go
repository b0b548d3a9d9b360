package catalog

import (
	"context"
	"fmt"
	"hash/fnv"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/scope"
)

// alone calls f while no other call, in any process, is at work on t. It takes
// part in the limit of what this process does at a time.
//
// The lock is a transaction's in the master database, held open meanwhile: it
// ends with its process, however that ends, and it holds behind a transaction
// pooler, where a session's lock would stay with a connection of the pooler's.
func (c *Catalog) alone(ctx context.Context, t scope.Tenant, f func(context.Context) error) error {
	ctx, cancel := c.lifetime(ctx)
	defer cancel()
	if err := c.work.Acquire(ctx, 1); err != nil {
		return fmt.Errorf("catalog: wait for other tenants that are made or dropped: %w", context.Cause(ctx))
	}
	defer c.work.Release(1)
	tx, err := c.master.Begin(ctx)
	if err != nil {
		return fmt.Errorf("catalog: lock tenant %q: %w", t, err)
	}
	defer unlock(ctx, tx)
	var locked bool
	err = tx.QueryRow(ctx, "select pg_catalog.pg_try_advisory_xact_lock($1)", lockKey(t)).Scan(&locked)
	if err != nil {
		return fmt.Errorf("catalog: lock tenant %q: %w", t, err)
	}
	if !locked {
		return fmt.Errorf("%w %q", ErrBusy, t)
	}
	return f(ctx)
}

// lifetime returns a context that ends with ctx or with the catalog.
func (c *Catalog) lifetime(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(c.ctx, func() { cancel(errClosed) })
	return ctx, func() { stop(); cancel(nil) }
}

// unlock ends the transaction of a lock, also if ctx has ended.
func unlock(ctx context.Context, tx pgx.Tx) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
	defer cancel()
	_ = tx.Rollback(ctx) // or the connection is gone, and the lock with it
}

// lockKey is the tenant's key among the master's advisory locks. Two tenants of
// one key would only keep each other out for a while.
func lockKey(t scope.Tenant) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte("tenantry/catalog/" + t.String())) // never fails
	return int64(h.Sum64())                                  //nolint:gosec // any 64 bits are a key
}
