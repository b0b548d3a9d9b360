package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/metrics"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

const (
	pendings   = `tenantry_migrator_tenants{state="pending"}`
	runnings   = `tenantry_migrator_tenants{state="running"}`
	currents   = `tenantry_migrator_tenants{state="current"}`
	failures   = `tenantry_migrator_tenants{state="failed"}`
	errorCount = "tenantry_migrator_status_errors_total"
	readAt     = "tenantry_migrator_status_timestamp_seconds"
)

// gated is a migrator whose answers a test holds back, and counts.
type gated struct {
	*migrator.Migrator
	asked   atomic.Int64
	opened  chan struct{}
	ignores bool // the context
}

func (g *gated) Status(ctx context.Context, s migrator.Selection) ([]migrator.Status, error) {
	g.asked.Add(1)
	done := ctx.Done()
	if g.ignores {
		done = nil
	}
	select {
	case <-g.opened:
		return g.Migrator.Status(ctx, s)
	case <-done:
		return nil, ctx.Err()
	}
}

// gate returns a migrator of a tenant that is pending, with the plugin, and closed.
func gate(t testing.TB) (*gated, *plugin.Plugin) {
	t.Helper()
	db, p := open(t, pgtest.Database(t), plugin.BySchema())
	return &gated{Migrator: migrator.New(db, migrator.List{tenant(t, "acme")}, migrations()), opened: make(chan struct{})}, p
}

// journal is where errors are logged.
type journal struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func TestTenantsAreCountedByState(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	pool := admin(t, dsn)
	db, _ := open(t, dsn, plugin.BySchema())
	list := migrator.List{tenant(t, "a"), tenant(t, "b"), tenant(t, "bad"), tenant(t, "later"), tenant(t, "latest"), tenant(t, "last")}
	m := migrator.New(db, list, append(migrations(), migrator.Migrations{{ID: "2", Migrate: func(tx *gorm.DB) error {
		if id, err := scope.From(tx.Statement.Context); err != nil || id.String() == "bad" {
			return errors.New("no")
		}
		return nil
	}}}...))
	if _, err := m.Run(t.Context(), migrator.Only(migrator.Selection{IDs: list[:3]})); err == nil {
		t.Fatal("no error")
	}
	prom, otel := collector(t, metrics.WithMigrator(m), metrics.WithMaxAge(0)), reader(t, metrics.WithMigrator(m))
	before := float64(time.Now().UnixMilli()) / 1000
	seen := scrape(t, prom)
	seen.must(t, series{pendings: 3, runnings: 0, currents: 2, failures: 1, errorCount: 0})
	if len(seen) != 6 || seen[readAt] < before {
		t.Errorf("got %v", seen)
	}
	otherwise := collect(t, t.Context(), otel)
	delete(seen, readAt)
	delete(otherwise, readAt)
	otherwise.sameAs(t, seen)

	// The next scrape sees what has changed.
	if _, err := m.Run(t.Context(), migrator.Only(migrator.Selection{IDs: list[3:]})); err != nil {
		t.Fatal(err)
	}
	scrape(t, prom).must(t, series{pendings: 0, currents: 5, failures: 1})

	// The last count is shown on when there is no other.
	execute(t, pool, "alter table tenantry.ledger rename column tenant to hidden")
	scrape(t, prom).must(t, series{pendings: 0, currents: 5, failures: 1, errorCount: 1})
	scrape(t, prom).must(t, series{errorCount: 2})
}

func TestAnErrorOfTheMigratorIsCountedAndLoggedAndCostsNothingElse(t *testing.T) {
	t.Parallel()
	db, p := open(t, pgtest.Database(t), plugin.BySchema())
	m := migrator.New(db, migrator.List{tenant(t, "acme")}, nil) // which is an error of each call
	var log journal
	opts := []metrics.Option{metrics.WithPlugin(p), metrics.WithMigrator(m), metrics.WithLogger(slog.New(slog.NewTextHandler(&log, nil)))}
	prom := collector(t, opts...)
	for range 3 { // within 30 seconds the migrator is asked once
		seen := scrape(t, prom)
		seen.must(t, series{errorCount: 1, "tenantry_statements_total": 0})
		for _, name := range []string{pendings, readAt} {
			if v, ok := seen[name]; ok {
				t.Errorf("%s is %v, but nobody knows it", name, v)
			}
		}
	}
	if !strings.Contains(log.String(), "there are no migrations") || strings.Count(log.String(), "\n") != 1 {
		t.Errorf("logged: %s", log.String())
	}
	collect(t, t.Context(), reader(t, opts...)).must(t, series{errorCount: 1, "tenantry_statements_total": 0})
}

func TestAMigratorThatDoesNotAnswerDelaysAScrapeForAMomentOnly(t *testing.T) {
	t.Parallel()
	m, p := gate(t)
	m.ignores = true // as closing connections to a dead server does
	prom := collector(t, metrics.WithPlugin(p), metrics.WithMigrator(m), metrics.WithPatience(10*time.Millisecond), metrics.WithMaxAge(time.Hour))
	for range 3 {
		seen := scrape(t, prom)
		seen.must(t, series{errorCount: 0, "tenantry_statements_total": 0})
		if v, ok := seen[pendings]; ok {
			t.Errorf("%v tenants are pending, but nobody knows", v)
		}
	}
	close(m.opened)
	eventually(t, "a later scrape has the answer", func() bool { return scrape(t, prom)[pendings] == 1 })
	if n := m.asked.Load(); n != 1 {
		t.Errorf("the migrator was asked %d times", n)
	}
}

// What comes after the collection, an export, has the same time.
func TestTheOtherMetricsAreThereBeforeTheCollectionsTimeIsOver(t *testing.T) {
	t.Parallel()
	m, p := gate(t)
	otel := reader(t, metrics.WithPlugin(p), metrics.WithMigrator(m), metrics.WithPatience(time.Hour))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	collect(t, ctx, otel).must(t, series{"tenantry_statements_total": 0, errorCount: 0})
	if ctx.Err() != nil {
		t.Error("no time is left")
	}
}

func TestManyScrapesAskOnce(t *testing.T) {
	t.Parallel()
	m, _ := gate(t)
	prom, answers := collector(t, metrics.WithMigrator(m), metrics.WithPatience(time.Minute)), make(chan series)
	for range 20 {
		go func() { answers <- scrape(t, prom) }()
	}
	eventually(t, "one asks", func() bool { return m.asked.Load() == 1 })
	close(m.opened)
	for range 20 {
		(<-answers).must(t, series{pendings: 1})
	}
	if n := m.asked.Load(); n != 1 {
		t.Errorf("the migrator was asked %d times", n)
	}
}

func TestNothingIsAskedAfterClosing(t *testing.T) {
	t.Parallel()
	m, _ := gate(t)
	quiet := metrics.WithLogger(slog.New(slog.DiscardHandler))
	prom := collector(t, metrics.WithMigrator(m), metrics.WithPatience(0), metrics.WithMaxAge(0), quiet)
	scrape(t, prom)
	eventually(t, "it is asked", func() bool { return m.asked.Load() == 1 })
	for range 2 {
		if err := prom.Close(); err != nil {
			t.Fatal(err)
		}
		scrape(t, prom).must(t, series{errorCount: 0}) // nobody has failed
	}
	if n := m.asked.Load(); n != 1 {
		t.Errorf("the migrator was asked %d times", n)
	}
}

func TestUnregisteringEndsTheCallbackAndAQuestion(t *testing.T) {
	t.Parallel()
	m, p := gate(t)
	quiet := metrics.WithLogger(slog.New(slog.DiscardHandler))
	r, provider := newReader()
	registration, err := metrics.Register(provider.Meter("test"), metrics.WithPlugin(p), metrics.WithMigrator(m), metrics.WithPatience(0), quiet)
	if err != nil {
		t.Fatal(err)
	}
	if seen := collect(t, t.Context(), r); len(seen) == 0 {
		t.Error("nothing is seen")
	}
	eventually(t, "it is asked", func() bool { return m.asked.Load() == 1 })
	if err := registration.Unregister(); err != nil {
		t.Fatal(err)
	}
	if seen := collect(t, t.Context(), r); len(seen) != 0 {
		t.Errorf("still seen: %s", fmt.Sprint(seen))
	}
}
