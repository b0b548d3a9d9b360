package catalog

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/internal/driver"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

const (
	// listenPulse is how often a silent connection is asked for a sign of life.
	listenPulse = 30 * time.Second
	// listenPause is the time between two tries to connect.
	listenPause = 2 * time.Second
	// listenPooled is the same behind a pooler: it may be gone one day.
	listenPooled = time.Minute
)

// errPooled says that notifications can't be had.
var errPooled = errors.New("a transaction pooler stands in front of the master database")

// listen hears of changes by other processes until the catalog is closed, on a
// connection of its own. While it does not hear, the TTL counts.
func (c *Catalog) listen() {
	for c.ctx.Err() == nil {
		err := c.hear()
		c.listening.Store(false)
		c.cache.invalidateAll() // it may have missed something
		pause := listenPause
		switch {
		case c.ctx.Err() != nil:
			return
		case errors.Is(err, errPooled):
			pause = listenPooled
			c.logger.Info("catalog: no notifications, changes by other processes are seen after the TTL", slog.Duration("ttl", c.ttl), slog.Any("reason", err))
		default:
			c.logger.Warn("catalog: the connection for notifications is lost", slog.Any("error", err))
		}
		select {
		case <-c.ctx.Done():
		case <-time.After(pause):
		}
	}
}

// hear listens until something goes wrong.
func (c *Catalog) hear() error {
	cfg, err := c.connConfig(Main, plugin.Database{Server: c.dsn()})
	if err != nil {
		return err
	}
	driver.SetFormats(cfg.ConnConfig)
	conn, err := driver.Connect(c.ctx, cfg)
	if err != nil {
		return err
	}
	defer hangUp(conn)
	direct, err := driver.Direct(c.ctx, conn.PgConn())
	if err != nil {
		return err
	}
	if !direct {
		return errPooled
	}
	if _, err := conn.Exec(c.ctx, "listen tenantry"); err != nil {
		return err
	}
	c.cache.invalidateAll() // what changed before is not heard
	c.listening.Store(true)
	for {
		if err := c.hearOne(conn); err != nil {
			return err
		}
	}
}

// hearOne waits for a notification. A connection that is silent for long is asked
// whether it still stands.
func (c *Catalog) hearOne(conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(c.ctx, listenPulse)
	defer cancel()
	n, err := conn.WaitForNotification(ctx)
	if err != nil {
		if ctx.Err() == nil || conn.IsClosed() || c.ctx.Err() != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(c.ctx, listenPulse)
		defer cancel()
		return conn.Ping(ctx)
	}
	if t, err := scope.Parse(n.Payload); err == nil {
		c.cache.forget(t)
	} else {
		c.cache.invalidateAll()
	}
	return nil
}

// hangUp closes conn, also if the catalog is closed already.
func hangUp(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), listenPause)
	defer cancel()
	_ = conn.Close(ctx) // the socket is closed whatever it returns
}
