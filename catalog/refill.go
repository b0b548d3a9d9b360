package catalog

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"time"
)

const (
	// refillPulse is how often a process looks after the spares without a reason.
	refillPulse = 15 * time.Second
	// refillAgain is when it looks again if another process is at work on them.
	refillAgain = time.Second
	// refillPause is how long what has failed rests, at first. It doubles each time.
	refillPause = 2 * time.Second
	// refillRest is how long it rests at most.
	refillRest = 10 * time.Minute
	// refillLimit bounds the making of one spare.
	refillLimit = 10 * time.Minute
)

// stir makes the catalog look after the spares now.
func (c *Catalog) stir() {
	select {
	case c.stirred <- struct{}{}:
	default: // it will
	}
}

// keepSpares looks after the spares until the catalog is closed.
func (c *Catalog) keepSpares() {
	t := troubles{}
	for c.ctx.Err() == nil {
		pause := t.soonest(c.refill(t))
		select {
		case <-c.ctx.Done():
		case <-c.stirred:
		case <-time.After(pause):
		}
	}
}

// refill looks after the spares on each server, one after the other, and returns when
// to do so again.
func (c *Catalog) refill(t troubles) (pause time.Duration) {
	pause = refillPulse
	var servers []serverRow
	c.attempt(t, trouble{what: "read the servers"}, func() error {
		return c.db.WithContext(c.ctx).Order("name").Find(&servers).Error
	})
	for _, s := range servers {
		c.attempt(t, trouble{server: s.Name, what: "lock the spares"}, func() error {
			err := c.locked(c.ctx, sparesKey(s.Name), func(ctx context.Context) error { c.refillServer(ctx, t, s); return nil })
			if errors.Is(err, errLocked) {
				pause, err = refillAgain, nil
			}
			return err
		})
	}
	return pause
}

// refillServer makes the spares that lack on a server, and drops those that nobody
// wants. The caller is alone at work on them.
func (c *Catalog) refillServer(ctx context.Context, t troubles, server serverRow) {
	for _, kind := range slices.Sorted(maps.Keys(c.spares)) {
		c.attempt(t, trouble{server.Name, "make a spare", kind}, func() error { return c.refillKind(ctx, server, kind) })
	}
	c.attempt(t, trouble{server: server.Name, what: "drop spares"}, func() error {
		return c.dropSpares(ctx, server.Name, c.unwanted)
	})
}

// refillKind makes one spare after the other until none lacks. It can be cut off
// between any two of them.
func (c *Catalog) refillKind(ctx context.Context, server serverRow, kind Kind) error {
	for {
		n, err := c.lack(ctx, server, kind)
		if err != nil || n <= 0 {
			return err
		}
		making, cancel := context.WithTimeout(ctx, refillLimit)
		err = c.makeSpare(making, server, kind)
		cancel()
		if err != nil {
			return err
		}
	}
}

// lack returns how many spares lack on a server. One that is full needs none, and one
// with a capacity no more than the tenants that it still takes.
func (c *Catalog) lack(ctx context.Context, server serverRow, kind Kind) (n int, err error) {
	err = c.db.WithContext(ctx).Raw(`select case when "full" then 0 when capacity = 0 then cast(@want as bigint)
			else least(cast(@want as bigint), capacity - (select count(*) from tenantry.tenants t where t.server = s.name)) end
		- (select count(*) from tenantry.spares p where p.server = s.name and kind = @kind and state = @ready and fingerprint = @fingerprint)
		from tenantry.servers s where name = @server`, map[string]any{
		"want": c.spares[kind], "server": server.Name, "kind": kind, "ready": spareReady, "fingerprint": c.spareFingerprint(&server),
	}).Scan(&n).Error
	return n, err
}

// unwanted selects what was cut off, and what is older than its age and too much or of
// other migrations. The spares come in the order of their age.
func (c *Catalog) unwanted(spares []spareRow) (drop []spareRow) {
	kept := map[Kind]int{}
	for _, s := range slices.Backward(spares) {
		want, ours := c.spares[s.Kind]
		switch {
		case s.State != spareReady:
			drop = append(drop, s)
		case s.Fingerprint == c.spareFingerprint(&s.Server) && !s.Server.Full && kept[s.Kind] < want:
			kept[s.Kind]++
		case ours && time.Since(s.CreatedAt) > spareAge:
			drop = append(drop, s)
		}
	}
	return drop
}

// trouble is a part of the work on spares that may fail on its own.
type trouble struct {
	server, what string
	kind         Kind
}

// troubles are the parts that have failed, and rest.
type troubles map[trouble]rest

// soonest returns the pause, or what is left of a shorter rest.
func (t troubles) soonest(pause time.Duration) time.Duration {
	for _, r := range t {
		if left := time.Until(r.until); left > 0 {
			pause = min(pause, left)
		}
	}
	return pause
}

type rest struct {
	pause time.Duration
	until time.Time
}

// attempt does a part of the work, unless it rests. It rests the longer the more often
// it fails in a row, of which only the first time is a warning.
func (c *Catalog) attempt(t troubles, which trouble, work func() error) {
	last, failed := t[which]
	if failed && time.Now().Before(last.until) || c.ctx.Err() != nil {
		return
	}
	err := work()
	if err == nil {
		delete(t, which)
		return
	}
	if c.ctx.Err() != nil {
		return
	}
	level, pause := slog.LevelWarn, refillPause
	if failed {
		level, pause = slog.LevelDebug, min(2*last.pause, refillRest)
	}
	t[which] = rest{pause: pause, until: time.Now().Add(pause)}
	c.logger.Log(c.ctx, level, "catalog: spares are not looked after for a while, sign-ups may take longer", slog.String("server", which.server),
		slog.String("kind", string(which.kind)), slog.String("step", which.what), slog.Any("error", err))
}
