package driver

import (
	"crypto/sha256"
	"sync"
)

const (
	// typeCacheBytes bounds each of the cache's two generations: the texts, the types, and what
	// the map needs for them.
	typeCacheBytes = 2 << 20

	// typeEntryBytes is what an entry takes besides its text and its types.
	typeEntryBytes = 160

	// longestTyped is the length of the longest text that is kept as it is, in bytes. Of a longer one the
	// cache has the digest.
	longestTyped = 1 << 10
)

// typeKey names a query at one place. The place belongs to it: types of the same name have other
// OIDs in each schema and on each server, and during a rollout even other columns.
type typeKey struct {
	pool     uint64 // its number in this process
	settings string
	query    string // the text, or its digest behind a NUL byte, which no text has
}

func (l *lease) typeKey(query string) typeKey {
	return newTypeKey(l.link.pool.number, l.target.key(), query)
}

func newTypeKey(pool uint64, settings, query string) typeKey {
	if len(query) > longestTyped {
		digest := sha256.Sum256([]byte(query))
		query = "\x00" + string(digest[:])
	}
	return typeKey{pool: pool, settings: settings, query: query}
}

// typeCache remembers the parameter types of queries. It is bounded: when the
// young generation is full it becomes the old one, and what is not asked for
// until the next change is forgotten. The zero value is ready for use.
type typeCache struct {
	mu    sync.Mutex // guards what follows; never held during I/O
	young map[typeKey][]uint32
	old   map[typeKey][]uint32
	bytes int // of the young generation
}

func (c *typeCache) get(k typeKey) ([]uint32, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if oids, ok := c.young[k]; ok {
		return oids, true
	}
	oids, ok := c.old[k]
	if ok {
		c.add(k, oids)
	}
	return oids, ok
}

func (c *typeCache) put(k typeKey, oids []uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(k, oids)
}

func (c *typeCache) remove(k typeKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if oids, ok := c.young[k]; ok {
		c.bytes -= typeBytes(k, oids)
		delete(c.young, k)
	}
	delete(c.old, k)
}

// add adds an entry to the young generation, unless it would take a large part of it.
func (c *typeCache) add(k typeKey, oids []uint32) {
	n := typeBytes(k, oids)
	if n > typeCacheBytes/4 {
		return
	}
	if before, ok := c.young[k]; ok {
		c.bytes -= typeBytes(k, before)
		delete(c.young, k)
	}
	if c.young == nil || c.bytes+n > typeCacheBytes {
		c.old, c.young, c.bytes = c.young, make(map[typeKey][]uint32), 0
	}
	c.young[k] = oids
	c.bytes += n
}

func typeBytes(k typeKey, oids []uint32) int {
	return typeEntryBytes + len(k.settings) + len(k.query) + 4*len(oids)
}
