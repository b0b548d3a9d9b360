package catalog

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/tenantry/tenantry/httpmw"
	"github.com/tenantry/tenantry/scope"
)

const (
	// unknownTTL is how long a name that nobody has is remembered.
	unknownTTL = 5 * time.Second
	// unknownLimit is how many of them are remembered: a scan of random names must
	// not grow memory.
	unknownLimit = 4096
	// brokenTTL is how long a tenant that can't be placed stays so without another
	// look: a key may have been missing for a moment.
	brokenTTL = time.Second
	// sweepAfter is how long after its time a record is still kept.
	sweepAfter = time.Hour
)

// cache holds what lookups have found. Records don't change; new ones take their
// place.
type cache struct {
	ttl time.Duration

	hits, misses, unknowns atomic.Uint64

	mu      sync.RWMutex // guards what follows; never held during a query
	byRef   map[httpmw.Ref]*entry
	unknown map[httpmw.Ref]absence

	// What was found in an earlier epoch is stale. To invalidate is to begin another
	// epoch: anybody who may connect can send notifications, so each must cost the same
	// however much is remembered.
	epoch        uint64 // of byRef
	unknownEpoch uint64 // of unknown

	pending []*batch // asked for, not under way; the last takes more
	running bool     // a goroutine works on batches
	closed  bool
	stale   changes // during the batch under way
	swept   time.Time
}

// entry is a record under one of its refs.
type entry struct {
	record  *record
	expires time.Time
	epoch   uint64
}

// absence says that nobody has a ref.
type absence struct {
	expires time.Time
	epoch   uint64
}

// mostChanges is how many changed tenants are remembered one by one while a query is
// under way.
const mostChanges = 1000

// changes are those of which a query that is under way may know nothing.
type changes struct {
	all     bool
	any     bool
	tenants map[scope.Tenant]bool
}

// close makes further lookups fail that memory can't answer.
func (c *cache) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
}

func newCache(ttl time.Duration) *cache {
	return &cache{ttl: ttl, byRef: map[httpmw.Ref]*entry{}, unknown: map[httpmw.Ref]absence{}}
}

// get returns the record of ref, nil if nobody has it. Fresh says whether that
// still counts; if not, the record is what was known last.
func (c *cache) get(ref httpmw.Ref) (r *record, fresh bool) {
	now := time.Now()
	c.mu.RLock()
	e, known := c.byRef[ref]
	a, unknown := c.unknown[ref]
	current, currentUnknown := known && e.epoch == c.epoch, unknown && a.epoch == c.unknownEpoch
	c.mu.RUnlock()
	switch {
	case current && now.Before(e.expires):
		c.hits.Add(1)
		return e.record, true
	case currentUnknown && now.Before(a.expires):
		c.unknowns.Add(1)
		return nil, true
	}
	c.misses.Add(1)
	if known {
		return e.record, false
	}
	return nil, false
}

// forget drops what is known of a tenant, and invalidates which names nobody has: the
// tenant may have got one.
func (c *cache) forget(t scope.Tenant) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.byRef[idRef(t)]; ok {
		c.drop(e.record)
	}
	c.unknownEpoch++
	c.stale.any = true
	switch {
	case !c.running || c.stale.all:
	case len(c.stale.tenants) >= mostChanges:
		c.stale.all, c.stale.tenants = true, nil
	default:
		if c.stale.tenants == nil {
			c.stale.tenants = map[scope.Tenant]bool{}
		}
		c.stale.tenants[t] = true
	}
}

// invalidateAll marks every record stale. A stale record is served only if the master
// can't be read.
func (c *cache) invalidateAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	c.unknownEpoch++
	c.stale = changes{any: true, all: true}
}

func (c *cache) drop(r *record) {
	for _, ref := range r.refs {
		if e, ok := c.byRef[ref]; ok && e.record.tenant == r.tenant {
			delete(c.byRef, ref)
		}
	}
}

// keep puts a record under all its refs until the time is over.
func (c *cache) keep(r *record, expires time.Time) {
	if e, ok := c.byRef[idRef(r.tenant)]; ok {
		r.doubted.Store(e.record.doubted.Load())
		c.drop(e.record)
	}
	for _, ref := range r.refs {
		c.byRef[ref] = &entry{record: r, expires: expires, epoch: c.epoch}
	}
}

// keepUnknown remembers that nobody has ref. When there are too many, those
// that are remembered already go.
func (c *cache) keepUnknown(ref httpmw.Ref, until time.Time) {
	if len(c.unknown) >= unknownLimit {
		clear(c.unknown)
	}
	c.unknown[ref] = absence{expires: until, epoch: c.unknownEpoch}
	if e, ok := c.byRef[ref]; ok { // it had a tenant before
		c.drop(e.record)
	}
}

// stretch keeps a record that could not be read again a little longer, under the
// refs that are still its own.
func (c *cache) stretch(r *record, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ref := range r.refs {
		if e, ok := c.byRef[ref]; ok && e.record == r {
			c.byRef[ref] = &entry{record: r, expires: until, epoch: c.epoch}
		}
	}
}

// invalidate marks a record stale.
func (c *cache) invalidate(r *record) { c.stretch(r, time.Time{}) }

// store keeps what a batch has found, but for what has changed meanwhile.
func (c *cache) store(b *batch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.sweep(now)
	for ref := range b.refs {
		r := b.found[ref]
		switch {
		case c.stale.all:
		case r != nil && r.err != nil && !c.stale.tenants[r.tenant]:
			c.keep(r, now.Add(min(c.ttl, brokenTTL)))
		case r != nil && !c.stale.tenants[r.tenant]:
			c.keep(r, now.Add(c.ttl))
		case r == nil && !c.stale.any:
			c.keepUnknown(ref, now.Add(unknownTTL))
		}
	}
}

// sweep drops what nobody has asked for in a long time, now and then. What is
// only expired stays: it is what was known last.
func (c *cache) sweep(now time.Time) {
	if now.Before(c.swept.Add(sweepAfter)) {
		return
	}
	c.swept = now
	for ref, e := range c.byRef {
		if now.After(e.expires.Add(sweepAfter)) {
			delete(c.byRef, ref)
		}
	}
}

func idRef(t scope.Tenant) httpmw.Ref {
	return httpmw.Ref{Kind: httpmw.KindID, Value: t.String()}
}
