package driver

import "sync"

// typeCacheSize bounds each of the cache's two generations.
const typeCacheSize = 4096

// typeKey names a query of one tenant. The tenant belongs to it: types of the
// same name have other OIDs in each schema, and during a rollout even other
// columns.
type typeKey struct {
	scope Scope
	query string
}

// typeCache remembers the parameter types of queries. It is bounded: when the
// young generation is full it becomes the old one, and what is not asked for
// until the next change is forgotten. The zero value is ready for use.
type typeCache struct {
	mu    sync.Mutex // guards both; never held during I/O
	young map[typeKey][]uint32
	old   map[typeKey][]uint32
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
	delete(c.young, k)
	delete(c.old, k)
}

func (c *typeCache) add(k typeKey, oids []uint32) {
	if c.young == nil || len(c.young) >= typeCacheSize {
		c.old, c.young = c.young, make(map[typeKey][]uint32)
	}
	c.young[k] = oids
}
