package plugin_test

import (
	"context"
	"runtime/metrics"
	"testing"

	"gorm.io/gorm"

	pgdsn "github.com/tenantry/tenantry/internal/pgserver/dsn"
	"github.com/tenantry/tenantry/plugin"
)

// started returns how many goroutines the process has ever started.
func started() uint64 {
	sample := []metrics.Sample{{Name: "/sched/goroutines-created:goroutines"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// TestNoGoroutineIsStartedForAStatement beyond those of plain GORM: database/sql starts
// one for each query whose context can end. It can't be parallel: it counts those of the
// process.
func TestNoGoroutineIsStartedForAStatement(t *testing.T) {
	const rounds = 200
	db, _, dsn := twoTenants(t, nil, plugin.WithMaxConns(2))
	of, err := pgdsn.With(dsn, "search_path", "tenant_a")
	if err != nil {
		t.Fatal(err)
	}
	plain := openPlain(t, of, nil).WithContext(t.Context())
	spent := func(dbs ...*gorm.DB) uint64 {
		before := started()
		for i := range rounds {
			db := dbs[i%len(dbs)]
			if err := db.First(&Invoice{}, 1).Error; err != nil {
				t.Fatal(err)
			}
			if err := db.Model(&Invoice{ID: 1}).Update("cents", i).Error; err != nil {
				t.Fatal(err)
			}
		}
		return started() - before
	}
	ctx, cancel := context.WithCancel(as(t, "a"))
	defer cancel()
	tenants := []*gorm.DB{db.WithContext(ctx), db.WithContext(as(t, "b"))}
	spent(tenants...)
	spent(plain)
	ours, theirs := spent(tenants...), spent(plain)
	if ours > theirs+rounds/10 { // what else the process does may start a few
		t.Errorf("%d goroutines for %d reads and writes, plain GORM starts %d", ours, rounds, theirs)
	}
}
