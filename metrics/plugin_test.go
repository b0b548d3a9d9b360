package metrics_test

import (
	"errors"
	"testing"

	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/metrics"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

func TestThePluginsCountsAreShown(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	execute(t, admin(t, dsn), "create schema tenant_acme", "create table tenant_acme.invoices (id bigserial, title text)")
	db, p := open(t, dsn, plugin.BySchema())
	prom, otel := collector(t, metrics.WithPlugin(p)), reader(t, metrics.WithPlugin(p))
	scrape(t, prom).must(t, series{
		"tenantry_statements_total":                      0,
		`tenantry_refusals_total{reason="no_scope"}`:     0,
		`tenantry_refusals_total{reason="other_tenant"}`: 0,
	})

	acme := db.WithContext(as(t, "acme"))
	for range 3 { // each commits by itself
		if err := acme.Create(&Invoice{}).Error; err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := acme.Exec("select 1/0").Error; err == nil {
			t.Fatal("no error")
		}
	}
	for range 4 {
		if err := db.WithContext(t.Context()).Find(&[]Invoice{}).Error; !errors.Is(err, scope.ErrNone) {
			t.Fatal(err)
		}
	}
	err := acme.Transaction(func(tx *gorm.DB) error {
		return tx.WithContext(as(t, "globex")).Find(&[]Invoice{}).Error
	})
	if mismatch := (*scope.MismatchError)(nil); !errors.As(err, &mismatch) {
		t.Fatal(err)
	}

	seen := scrape(t, prom)
	seen.must(t, series{
		"tenantry_statements_total":                       5,
		"tenantry_transactions_total":                     1,
		"tenantry_errors_total":                           2,
		`tenantry_refusals_total{reason="no_scope"}`:      4,
		`tenantry_refusals_total{reason="other_tenant"}`:  1,
		`tenantry_base_pool_connections{state="idle"}`:    1,
		`tenantry_base_pool_connections{state="used"}`:    0,
		`tenantry_base_pool_connections{state="opening"}`: 0,
		"tenantry_base_pool_max_connections":              float64(p.Stats().Base.MaxConns()),
		"tenantry_base_pool_dials_total":                  1,
		"tenantry_base_pool_acquires_total":               float64(p.Stats().Base.AcquireCount()),
		"tenantry_base_pool_waits_total":                  float64(p.Stats().Base.EmptyAcquireCount()),
		"tenantry_base_pool_cancels_total":                0,
		"tenantry_base_pool_wait_time_seconds_total":      p.Stats().Base.EmptyAcquireWaitTime().Seconds(),
	})
	if p.Stats().Base.AcquireCount() == 0 || p.Stats().Base.EmptyAcquireWaitTime() == 0 {
		t.Error("nothing to compare with")
	}
	if len(seen) != 14 { // no pools of the strategy's own
		t.Errorf("got %d series: %v", len(seen), seen)
	}
	collect(t, t.Context(), otel).sameAs(t, seen)
}

func TestConnectionsInUseAreShown(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	execute(t, admin(t, dsn), "create schema tenant_acme")
	db, p := open(t, dsn, plugin.BySchema())
	prom := collector(t, metrics.WithPlugin(p))
	tx := db.WithContext(as(t, "acme")).Begin()
	if tx.Error != nil {
		t.Fatal(tx.Error)
	}
	scrape(t, prom).must(t, series{
		`tenantry_base_pool_connections{state="idle"}`: 0,
		`tenantry_base_pool_connections{state="used"}`: 1,
	})
	if err := tx.Rollback().Error; err != nil {
		t.Fatal(err)
	}
}

func TestAPluginThatIsNotRegisteredYetHasNoBasePool(t *testing.T) {
	t.Parallel()
	seen := scrape(t, collector(t, metrics.WithPlugin(plugin.New(plugin.BySchema()))))
	seen.must(t, series{"tenantry_statements_total": 0})
	if len(seen) != 5 {
		t.Errorf("got %v", seen)
	}
}
