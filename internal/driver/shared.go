package driver

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/internal/fairpool"
)

// SharedPool is a pool whose connections tenants share, each in its turn (package fairpool). It is safe
// for concurrent use.
type SharedPool struct {
	*fairpool.Pool[Scope]
	prepared *Prepared
}

// OpenShared prepares cfg as [PreparePool] does, and opens the pool. Close it.
func OpenShared(ctx context.Context, cfg *pgxpool.Config, t Tuning) (*SharedPool, error) {
	prepared := PreparePool(cfg, t)
	take := reconnect
	if fairpool.HasHooks(cfg) {
		take = connect
	}
	opts := []fairpool.Option{
		fairpool.WithTenantsPerConn(t.TenantsPerConn),
		fairpool.WithAcquire(func(ctx context.Context, pool *pgxpool.Pool) (fairpool.Acquired, error) { return take(ctx, pool) }),
	}
	if t.MostShare > 0 {
		opts = append(opts, fairpool.WithShares(t.MostShare, t.ContendedShare))
	}
	pool, err := fairpool.Open[Scope](ctx, cfg, opts...)
	if err != nil {
		return nil, err
	}
	return &SharedPool{Pool: pool, prepared: prepared}, nil
}

// Close ends the waiting of requests with an error, and closes the pool as [AwaitClosed] says.
func (p *SharedPool) Close() error { return AwaitClosed(p.Pool.Close, p.prepared) }

// take takes a connection for s.
func (p *SharedPool) take(ctx context.Context, s Scope) (checkout, error) {
	held, err := p.Acquire(ctx, s)
	if err != nil {
		return checkout{}, err
	}
	return checkout{std: linkOf(held).std, held: held}, nil
}

// sharing returns the pool whose turn a request at t takes, or nil if t's pool has none.
func (c *Connector) sharing(t *Target) *SharedPool {
	if c.Shared == nil || t.Pool != c.Shared.Pgx() || t.Lease != nil {
		return nil
	}
	return c.Shared
}

// Lend calls f with a connection of the target's pool, as [Target.Lend] does. At the connector's own
// pool it takes its turn, as a tenant would.
func (c *Connector) Lend(ctx context.Context, t *Target, f func(*pgx.Conn) error) error {
	return t.lend(ctx, c.sharing(t), f)
}
