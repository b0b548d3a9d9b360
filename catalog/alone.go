package catalog

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/scope"
)

// lockPulse is how often a lock is looked at while the work goes on.
const lockPulse = time.Second

// alone calls f while no other call, in any process, is at work on t. It takes
// part in the limit of what this process does at a time.
//
// The lock is a transaction's in the master database, held open meanwhile: it
// ends with its process, however that ends, and it holds behind a transaction
// pooler, where a session's lock would stay with a connection of the pooler's. If
// it is lost, the context of f ends within seconds.
func (c *Catalog) alone(ctx context.Context, t scope.Tenant, f func(context.Context) error) error {
	return c.atWork(ctx, func(ctx context.Context) error {
		err := c.locked(ctx, lockKey(t), f)
		switch {
		case errors.Is(err, errLocked):
			return fmt.Errorf("%w %q", ErrBusy, t)
		case errors.Is(err, errNoLock):
			return fmt.Errorf("catalog: lock tenant %q: %w", t, err)
		}
		return err
	})
}

// atWork calls f within the limit of what this process does at a time. Close waits
// for it.
func (c *Catalog) atWork(ctx context.Context, f func(context.Context) error) error {
	if c.ctx.Err() != nil {
		return ErrClosed
	}
	ctx, cancel := c.lifetime(ctx)
	defer cancel()
	if err := c.work.Acquire(ctx, 1); err != nil {
		return fmt.Errorf("catalog: wait for other tenants that are made or dropped: %w", context.Cause(ctx))
	}
	defer c.work.Release(1)
	return f(ctx)
}

var (
	// errLocked says that somebody else has the lock.
	errLocked = errors.New("another call has the lock")
	// errNoLock says that the lock could not be asked for.
	errNoLock = errors.New("no lock")
)

// locked calls f while it holds the lock of that key.
func (c *Catalog) locked(ctx context.Context, key int64, f func(context.Context) error) error {
	tx, err := c.master.Begin(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", errNoLock, err)
	}
	defer unlock(ctx, tx)
	if err := lock(ctx, tx, key); err != nil {
		return err
	}
	held, release := hold(ctx, tx)
	defer release()
	err = f(held)
	if errors.Is(err, context.Canceled) && ctx.Err() == nil && held.Err() != nil {
		err = fmt.Errorf("%w: %w", context.Cause(held), err)
	}
	return err
}

// lock takes the lock, or returns errLocked. The transaction is idle for as long as
// the work takes, which must not end it.
func lock(ctx context.Context, tx pgx.Tx, key int64) error {
	var locked bool
	err := tx.QueryRow(ctx, `select pg_catalog.pg_try_advisory_xact_lock($1) from (
		select count(pg_catalog.set_config(name, '0', true)) from pg_catalog.pg_settings
		where name in ('idle_in_transaction_session_timeout', 'transaction_timeout')) unlimited`, key).Scan(&locked)
	if err != nil {
		return fmt.Errorf("%w: %w", errNoLock, err)
	}
	if !locked {
		return errLocked
	}
	return nil
}

// hold returns a context that ends when the transaction of a lock does. Call
// release before the transaction is used again.
func hold(ctx context.Context, tx pgx.Tx) (held context.Context, release func()) {
	held, cancel := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		again := time.NewTicker(lockPulse)
		defer again.Stop()
		for {
			select {
			case <-held.Done():
				return
			case <-again.C:
			}
			if err := pulse(ctx, tx); err != nil {
				cancel(fmt.Errorf("catalog: the lock is lost: %w", err))
				return
			}
		}
	})
	return held, func() { cancel(nil); watch.Wait() }
}

// pulse asks the lock's connection for a sign of life. It does not end with ctx,
// which would end the connection.
func pulse(ctx context.Context, tx pgx.Tx) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*lockPulse)
	defer cancel()
	_, err := tx.Exec(ctx, "select")
	return err
}

// lifetime returns a context that ends with ctx or with the catalog.
func (c *Catalog) lifetime(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(c.ctx, func() { cancel(ErrClosed) })
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
func lockKey(t scope.Tenant) int64 { return keyOfLock("tenantry/catalog/" + t.String()) }

// sparesKey is that of the spares on one server.
func sparesKey(server string) int64 { return keyOfLock("tenantry/spares/" + server) }

func keyOfLock(name string) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // never fails
	return int64(h.Sum64())      //nolint:gosec // any 64 bits are a key
}
