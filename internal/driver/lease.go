package driver

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// cleanupTimeout bounds what is done after a context has ended.
const cleanupTimeout = 5 * time.Second

var errUnprepared = errors.New("the strategy's pool was not opened through plugin.PreparePool, so its connections cannot be sent to a tenant")

// lease is a real connection while a shell holds it.
type lease struct {
	from    checkout
	link    *link
	scope   Scope
	target  *Target
	fresh   bool // no statement has passed the guard against temporary tables
	tainted bool // a statement has left state in the session: it must not go back
	changed bool // a statement has changed settings: plans that were made without them are not what it wants
	first   bool // nobody had the connection before
}

// acquire takes a connection for s from the pool of its target.
func acquire(ctx context.Context, s Scope, t *Target, pool *SharedPool) (*lease, error) {
	l, err := take(ctx, s, t, pool)
	if err != nil && t.Lease != nil {
		t.Lease.Release()
	}
	return l, err
}

func take(ctx context.Context, s Scope, t *Target, pool *SharedPool) (*lease, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	c, err := open(ctx, s, t, pool)
	if err != nil {
		return nil, err
	}
	l := linkOf(c)
	if l == nil {
		c.Release()
		return nil, errUnprepared
	}
	l.noteParameters(c.Conn().PgConn())
	first := !l.leased
	l.leased = true
	if first {
		l.pool.prepared.opened(l)
	}
	if l.needsFormats(c.Conn().PgConn()) {
		under := *t // others may have t
		under.Settings = slices.Concat(formats[:], t.Settings)
		t = &under
	}
	held := &lease{from: c, link: l, scope: s, target: t, fresh: true, first: first}
	l.lease.Store(held)
	return held, nil
}

func open(ctx context.Context, s Scope, t *Target, pool *SharedPool) (checkout, error) {
	if pool != nil {
		return pool.take(ctx, s)
	}
	c, err := connect(ctx, t.Pool)
	if err == nil {
		if l := linkOf(c); l != nil {
			l.tenants.Add(s)
		}
	}
	return c, err
}

// Lend calls f with a connection of the target's pool, without the target's
// settings: what f sends names its schemas itself, and must leave nothing in the
// session.
func (t *Target) Lend(ctx context.Context, f func(*pgx.Conn) error) error {
	return t.lend(ctx, nil, f)
}

func (t *Target) lend(ctx context.Context, pool *SharedPool, f func(*pgx.Conn) error) (err error) {
	l, err := acquire(ctx, Scope{}, t, pool)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.release()) }()
	return f(l.conn())
}

// release gives the connection back. A tainted one is closed instead, and so is
// one that the pool must not keep.
func (l *lease) release() error {
	l.link.lease.Store(nil)
	held := l.target.Lease
	if held != nil {
		defer held.Release()
	}
	if (held != nil && !held.Keep()) || l.tainted || l.link.tenants.Over() || l.isChanged() {
		l.destroy()
	}
	l.from.Release()
	return nil
}

// destroy closes the real connection. The pool notices at release.
func (l *lease) destroy() {
	ctx, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
	defer cancel()
	_ = l.conn().Close(ctx) // the socket is closed whatever it returns
}

func (l *lease) conn() *pgx.Conn { return l.from.Conn() }

// traced calls send and shows the user's tracer query as what is sent: what travels
// with it is ours, and names the tenant's place.
func (l *lease) traced(ctx context.Context, query string, send func(context.Context) (pgconn.CommandTag, error)) (pgconn.CommandTag, error) {
	tracer := l.link.tracer
	if tracer == nil {
		return send(ctx)
	}
	ctx = tracer.TraceQueryStart(ctx, l.conn(), pgx.TraceQueryStartData{SQL: query})
	tag, err := send(ctx)
	tracer.TraceQueryEnd(ctx, l.conn(), pgx.TraceQueryEndData{CommandTag: tag, Err: err})
	return tag, err
}

// simple sends text in one simple message, past the tracer, and returns the last
// command's tag.
func (l *lease) simple(ctx context.Context, text string) (tag pgconn.CommandTag, err error) {
	results := l.conn().PgConn().Exec(ctx, text)
	for results.NextResult() {
		tag, _ = results.ResultReader().Close() // results.Close returns the error
	}
	return tag, results.Close()
}

// idle reports whether the connection is between transactions.
func (l *lease) idle() bool { return l.conn().PgConn().TxStatus() == 'I' }
