package fairpool

import "math/rand/v2"

// Tenants are the tenants that one connection has served, and how many it may serve. The zero
// value may serve any number and notes none. It is not safe for concurrent use.
type Tenants[K comparable] struct {
	limit  int // 0 is any number
	served map[K]struct{}
}

// NewTenants returns what a new connection has served. perConn is how many tenants it may serve, or
// up to a quarter less, so that the connections of a pool are not all closed at the same time; 0
// is any number.
func NewTenants[K comparable](perConn int) Tenants[K] {
	if perConn == 0 {
		return Tenants[K]{}
	}
	return Tenants[K]{
		limit:  perConn - rand.IntN(perConn/4+1), //nolint:gosec // no secret
		served: map[K]struct{}{},
	}
}

// Add notes that the connection serves key.
func (t *Tenants[K]) Add(key K) {
	if t.limit > 0 {
		t.served[key] = struct{}{}
	}
}

// Has reports whether the connection has served key, or may serve any tenant.
func (t *Tenants[K]) Has(key K) bool {
	_, has := t.served[key]
	return has || t.limit == 0
}

// Over reports whether the connection has served more tenants than it may: close it.
func (t *Tenants[K]) Over() bool { return t.limit > 0 && len(t.served) > t.limit }

// hasRoom reports whether the connection may serve one more tenant.
func (t *Tenants[K]) hasRoom() bool { return t.limit == 0 || len(t.served) < t.limit }

// isCrowded reports whether the connection has served a quarter of the tenants that it may: a
// new tenant gets a connection of its own while the pool may open one, as what the server
// process keeps of each tenant would soon be in the others' way.
func (t *Tenants[K]) isCrowded() bool { return t.limit > 0 && 4*len(t.served) >= t.limit }

// isAhead reports whether the connection has served so many more tenants than the other that a
// new tenant goes to the other: more than a sixteenth of what it may serve.
func (t *Tenants[K]) isAhead(other *Tenants[K]) bool {
	return 16*(len(t.served)-len(other.served)) > t.limit
}

// isEmptier reports whether the connection is better for a new tenant than the other.
func (t *Tenants[K]) isEmptier(other *Tenants[K]) bool {
	if t.hasRoom() != other.hasRoom() {
		return t.hasRoom()
	}
	return len(t.served) < len(other.served)
}
