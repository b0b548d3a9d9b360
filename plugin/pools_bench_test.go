package plugin_test

import (
	"testing"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
)

// BenchmarkPlaceWarm is what a statement pays for the pools where its place is
// open.
func BenchmarkPlaceWarm(b *testing.B) {
	d := plugin.Database{Server: pgtest.DSN(b)}
	pools := newPools(b)
	mustUse(b, pools, d)
	b.ReportAllocs()
	for b.Loop() {
		p, err := pools.Place(b.Context(), d)
		if err != nil {
			b.Fatal(err)
		}
		p.Lease.Keep()
		p.Lease.Release()
	}
}

// BenchmarkPlaceCold is what it pays where the place has to be opened and another
// to be closed.
func BenchmarkPlaceCold(b *testing.B) {
	places := []plugin.Database{{Server: pgtest.Database(b)}, {Server: pgtest.Database(b)}}
	pools := newPools(b, plugin.WithBudget(1))
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		mustUse(b, pools, places[i%2])
		i++
	}
}
