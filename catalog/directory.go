package catalog

import (
	"context"

	"github.com/tenantry/tenantry/httpmw"
	"github.com/tenantry/tenantry/scope"
)

var _ httpmw.Directory = (*Catalog)(nil)

// Lookup returns the tenant that a request names, by id, subdomain or host. It
// answers from memory in the usual case: what was read is good for the TTL
// unless the tenant changes. A name that nobody has is remembered, too, for 5
// seconds and among the last few thousand of them. However many names are looked
// up, at most one query at a time goes to the master database; if it doesn't
// answer, tenants are served on as they were known last.
//
// Errors match [ErrUnknown], also for tenants that are being made or dropped, or
// [ErrSuspended].
func (c *Catalog) Lookup(ctx context.Context, ref httpmw.Ref) (scope.Tenant, error) {
	r, err := c.find(ctx, ref)
	if err != nil {
		return scope.Tenant{}, err
	}
	if err := r.refusal(false); err != nil {
		return scope.Tenant{}, err
	}
	return r.tenant, nil
}

// Stats counts lookups since the catalog was opened.
type Stats struct {
	Hits      uint64 // answered from memory
	Unknown   uint64 // of names that nobody has, answered from memory
	Misses    uint64 // that asked the master database
	Known     int    // names in memory: ids and hosts
	Listening bool   // changes by other processes are seen at once
}

// Stats returns the counts so far. It is safe for concurrent use.
func (c *Catalog) Stats() Stats {
	k := c.cache
	k.mu.RLock()
	defer k.mu.RUnlock()
	return Stats{
		Hits: k.hits.Load(), Unknown: k.unknowns.Load(), Misses: k.misses.Load(),
		Known: len(k.byRef), Listening: c.listening.Load(),
	}
}
