package plugin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/internal/driver"
)

// dialTimeout bounds a dial where the connection string has no connect_timeout.
const dialTimeout = 10 * time.Second

// entry returns the entry of d's place, which may be a new one.
func (p *Pools) entry(d Database, at place, cfg *pgxpool.Config, before func(context.Context, *pgx.ConnConfig) error) *entry {
	old := p.places[at]
	if old != nil && old.database == d {
		return old
	}
	e := &entry{pools: p, server: p.server(at.server), place: at, database: d, config: cfg, hook: before, lastUsed: time.Now()}
	p.places[at], p.known[d] = e, e
	e.server.entries[e] = struct{}{}
	if old != nil {
		old.moveQueue(e)
		p.dropUnopened(old)
		p.retire(old)
	}
	p.attend()
	return e
}

func (p *Pools) server(address string) *server {
	s := p.servers[address]
	if s == nil {
		s = &server{address: address, gate: newGate(p.config.budget), free: p.config.budget, entries: map[*entry]struct{}{}, queued: map[*entry]struct{}{}}
		p.servers[address] = s
	}
	return s
}

// moveQueue lets the requests that wait for e wait for other credentials of the
// same place.
func (e *entry) moveQueue(to *entry) {
	for e.queue.Len() > 0 {
		r := e.head()
		r.dequeue()
		r.entry = to
		r.enqueue()
	}
}

// startDial opens e's pool with the slot that it has. Its only context is the
// pools' own: the request that needs it first may give up before others do.
func (p *Pools) startDial(e *entry) {
	e.state = dialing
	p.running.Add(1) // until it is closed
	p.running.Go(func() {
		pool, err := p.dial(e)
		p.mu.Lock()
		defer p.mu.Unlock()
		if err != nil {
			p.failed(e, err)
		} else {
			p.opened(e, pool)
		}
		p.pump(e.server)
	})
}

// dial opens the pool and its first connection.
func (p *Pools) dial(e *entry) (*pgxpool.Pool, error) {
	if err := p.configure(e); err != nil {
		return nil, fmt.Errorf("plugin: open the pool of %s: %w", e.place, err)
	}
	pool, err := pgxpool.NewWithConfig(p.ctx, e.config)
	if err != nil {
		return nil, fmt.Errorf("plugin: open the pool of %s: %w", e.place, err)
	}
	ctx, cancel := context.WithTimeout(p.ctx, e.timeout())
	defer cancel()
	if err := driver.Dial(ctx, pool); err != nil {
		pool.Close()
		return nil, fmt.Errorf("plugin: connect to %s: %w", e.place, err)
	}
	e.held.Add(-1)
	return pool, nil
}

// timeout is how long connecting may take: for each host what the connection
// string says, and a little for pgx to say itself what has taken so long.
func (e *entry) timeout() time.Duration {
	c := e.config.ConnConfig
	return c.ConnectTimeout*time.Duration(len(addresses(c))) + time.Second
}

// configure makes e's configuration one of a pool that keeps to its slots.
func (p *Pools) configure(e *entry) error {
	cfg := e.config
	for _, f := range p.config.hooks {
		if err := f(cfg); err != nil {
			return fmt.Errorf("WithDatabaseConfig: %w", err)
		}
	}
	if cfg.ConnConfig.ConnectTimeout <= 0 {
		cfg.ConnConfig.ConnectTimeout = dialTimeout
	}
	cfg.MaxConns = int32(p.config.perPlace) //nolint:gosec // the option has checked its range
	cfg.MinConns, cfg.MinIdleConns = 0, 0
	e.count(cfg)
	e.prepared = driver.PreparePool(cfg, driver.DefaultTuning())
	return nil
}

// count lets the pool tell which of its connections leases have, and how many it
// has tried to open.
func (e *entry) count(cfg *pgxpool.Config) {
	hooks, prepare := []func(context.Context, *pgx.ConnConfig) error{e.hook, cfg.BeforeConnect}, cfg.PrepareConn
	older := cfg.BeforeAcquire //nolint:staticcheck // pgxpool would pass over it now that PrepareConn is set
	cfg.BeforeConnect = func(ctx context.Context, c *pgx.ConnConfig) error {
		e.dials.Add(1)
		for _, before := range hooks {
			if before == nil {
				continue
			}
			if err := before(ctx, c); err != nil {
				return err
			}
		}
		e.server.gate.guard(c)
		return nil
	}
	cfg.PrepareConn = func(ctx context.Context, c *pgx.Conn) (ok bool, err error) {
		switch {
		case prepare != nil:
			ok, err = prepare(ctx, c)
		case older != nil:
			ok = older(ctx, c)
		default:
			ok = true
		}
		if ok && err == nil {
			e.held.Add(1)
		}
		return ok, err
	}
}

// opened makes e's pool ready for leases.
func (p *Pools) opened(e *entry, pool *pgxpool.Pool) {
	e.pool, e.state, e.lastUsed = pool, open, time.Now()
	delete(p.failures, e.database)
	e.serve()
	for range e.queue.Len() {
		e.countWait()
	}
	if e.queue.Len() > 0 {
		p.wake()
	}
	p.shutEmpty(e) // if it was retired meanwhile
}

// failed ends the requests that wait for e, and forgets it.
func (p *Pools) failed(e *entry, err error) {
	if !e.retired {
		p.remember(e, err)
	}
	if p.closed {
		err = errors.Join(errPoolsClosed, err)
	}
	e.fail(err)
	p.forget(e)
	e.state = closing
	p.gone(e)
}

// retire keeps e from new leases, and closes it when the last has ended.
func (p *Pools) retire(e *entry) {
	p.forget(e)
	e.retired = true
	p.shutEmpty(e)
}

// dropUnopened forgets an entry that was never dialed and that nobody waits for.
func (p *Pools) dropUnopened(e *entry) {
	if e.state == unopened && e.queue.Len() == 0 {
		p.forget(e)
		delete(e.server.entries, e)
	}
}

// forget takes e out of the ways that lead to it.
func (p *Pools) forget(e *entry) {
	if p.known[e.database] == e {
		delete(p.known, e.database)
	}
	if p.places[e.place] == e {
		delete(p.places, e.place)
	}
}

// shut closes e's pool, of which nothing is in use. pgxpool's Close waits until
// the connections are closed.
func (p *Pools) shut(e *entry) {
	p.forget(e)
	e.state = closing
	e.server.pending += e.slots
	p.running.Go(func() {
		e.pool.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		e.server.pending -= e.slots
		p.gone(e)
		p.pump(e.server)
	})
}

// gone gives back the slots of an entry whose connections are all closed.
func (p *Pools) gone(e *entry) {
	e.server.take(e, e.slots)
	e.server.dials += e.dials.Load()
	delete(e.server.entries, e)
	p.running.Done()
}
