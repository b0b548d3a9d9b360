package catalog

import (
	"fmt"
	"testing"
	"time"

	"github.com/tenantry/tenantry/httpmw"
	"github.com/tenantry/tenantry/scope"
)

// InvalidateAll fills a cache with so many records, invalidates them, and reports whether
// all are stale then, and how many allocations that took.
func InvalidateAll(known int) (stale bool, allocs float64) {
	c := newCache(time.Hour)
	var refs []httpmw.Ref
	for n := range known {
		t, err := scope.Parse(fmt.Sprintf("tenant-%d", n))
		if err != nil {
			panic(err) // letters and digits
		}
		refs = append(refs, idRef(t))
		c.keep(&record{tenant: t, refs: refs[n:]}, time.Now().Add(time.Hour))
	}
	allocs = testing.AllocsPerRun(10, c.invalidateAll)
	stale = true
	for _, ref := range refs {
		r, fresh := c.get(ref)
		stale = stale && r != nil && !fresh
	}
	return stale, allocs
}
