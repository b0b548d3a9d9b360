package catalog

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tenantry/tenantry/httpmw"
)

const (
	// loadLimit bounds the queries of one batch.
	loadLimit = 5 * time.Second
	// batchLimit is how many refs one batch asks for at most.
	batchLimit = 1000
	// patience is how long a lookup waits to read a record again.
	patience = 500 * time.Millisecond
	// stretch is how long a record counts on that can't be read again.
	stretch = 5 * time.Second
)

// batch is a number of refs that are asked for together. While one batch is under
// way the next one gathers: whatever is looked up, and however much of it, at
// most one query at a time goes to the master database.
type batch struct {
	refs  map[httpmw.Ref]bool
	found map[httpmw.Ref]*record
	err   error
	done  chan struct{} // closed when found and err are set
}

// find returns the record of ref, from memory in the usual case, or ErrUnknown.
// When the master database can't be asked, what was known last still counts:
// names of places are never used again, so it can't lead to another tenant's.
func (c *Catalog) find(ctx context.Context, ref httpmw.Ref) (*record, error) {
	r, fresh := c.cache.get(ref)
	if !fresh {
		var err error
		if r, err = c.renew(ctx, ref, r); err != nil {
			return nil, fmt.Errorf("catalog: look %s up: %w", ref, err)
		}
	}
	if r == nil {
		return nil, fmt.Errorf("%w %s", ErrUnknown, ref)
	}
	return r, nil
}

// renew reads the record of ref again. Last is what was known of it, or nil.
func (c *Catalog) renew(ctx context.Context, ref httpmw.Ref, last *record) (*record, error) {
	if last == nil {
		return c.load(ctx, ref)
	}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, err := c.load(waiting, ref)
	if err == nil || ctx.Err() != nil || c.ctx.Err() != nil {
		return r, err
	}
	c.logger.Warn("catalog: the master database does not answer, a tenant is served as it was known last", slog.String("tenant", last.tenant.String()), slog.Any("error", err))
	c.cache.stretch(last, time.Now().Add(stretch))
	return last, nil
}

// load asks the master database for ref, in the next batch.
func (c *Catalog) load(ctx context.Context, ref httpmw.Ref) (*record, error) {
	b, err := c.join(ref)
	if err != nil {
		return nil, err
	}
	select {
	case <-b.done:
		return b.found[ref], b.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// join puts ref into the next batch, and sees to it that somebody works on it.
func (c *Catalog) join(ref httpmw.Ref) (*batch, error) {
	k := c.cache
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil, ErrClosed
	}
	if n := len(k.pending); n == 0 || len(k.pending[n-1].refs) >= batchLimit {
		k.pending = append(k.pending, &batch{refs: map[httpmw.Ref]bool{}, done: make(chan struct{})})
	}
	b := k.pending[len(k.pending)-1]
	b.refs[ref] = true
	if !k.running {
		k.running = true
		c.owned.Go(c.workOff)
	}
	return b, nil
}

// workOff works on batches until there is none.
func (c *Catalog) workOff() {
	for b := c.cache.take(); b != nil; b = c.cache.take() {
		ctx, cancel := context.WithTimeout(c.ctx, loadLimit)
		b.found, b.err = c.query(ctx, slices.Collect(maps.Keys(b.refs)))
		cancel()
		if b.err == nil {
			c.cache.store(b)
		}
		close(b.done)
	}
}

// take returns the batch to work on next.
func (c *cache) take() *batch {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stale = changes{}
	if len(c.pending) == 0 {
		c.running = false
		return nil
	}
	b := c.pending[0]
	c.pending = slices.Delete(c.pending, 0, 1)
	return b
}

// query reads the records of refs.
func (c *Catalog) query(ctx context.Context, refs []httpmw.Ref) (map[httpmw.Ref]*record, error) {
	var ids, hosts []string
	for _, ref := range refs {
		if !utf8.ValidString(ref.Value) || strings.ContainsRune(ref.Value, 0) {
			continue // PostgreSQL would refuse the whole batch for it
		}
		switch ref.Kind {
		case httpmw.KindID:
			ids = append(ids, ref.Value)
		case httpmw.KindSubdomain, httpmw.KindHost:
			hosts = append(hosts, ref.Value)
		}
	}
	db := c.lookups.db.WithContext(ctx)
	byHost := db.Model(&hostRow{}).Select("tenant").Where("name in ?", hosts)
	var rows []tenantRow
	if err := whole(db).Select("id", "state", "kind", "server", "cluster", "database", "schema", "role", "password").Where("id in ?", ids).Or("id in (?)", byHost).Find(&rows).Error; err != nil {
		return nil, err
	}
	found := make(map[httpmw.Ref]*record, len(rows))
	for i := range rows {
		r := c.newRecord(ctx, &rows[i])
		for _, ref := range r.refs {
			found[ref] = r
		}
	}
	return found, nil
}
