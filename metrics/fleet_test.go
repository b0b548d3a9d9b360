package metrics_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/metrics"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
)

// hanging is a migrator that never answers, and counts who asks.
type hanging struct {
	asked, ended int
	after        time.Duration // how long it takes to end
}

func (h *hanging) Status(ctx context.Context, _ migrator.Selection) ([]migrator.Status, error) {
	h.asked++
	<-ctx.Done()
	time.Sleep(h.after)
	h.ended++
	return nil, ctx.Err()
}

// The clock is the test's own: nothing of this takes time.
func TestAMigratorThatNeverAnswersIsLeftInPeace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, begin := &hanging{}, time.Now()
		prom := collector(t, metrics.WithMigrator(m), metrics.WithLogger(slog.New(slog.DiscardHandler)))
		scrapeAt := func(after time.Duration, asked int, errors float64) {
			t.Helper()
			time.Sleep(time.Until(begin.Add(after)))
			scrape(t, prom).must(t, series{errorCount: errors})
			synctest.Wait()
			if m.asked != asked {
				t.Errorf("after %s it has been asked %d times, want %d", after, m.asked, asked)
			}
		}
		scrapeAt(0, 1, 0)
		if waited := time.Since(begin); waited != time.Second {
			t.Errorf("the scrape has waited %s", waited)
		}
		scrapeAt(15*time.Second, 1, 0)
		scrapeAt(31*time.Second, 1, 1) // it was given up after 30 seconds
		scrapeAt(59*time.Second, 1, 1)
		scrapeAt(61*time.Second, 2, 1)
	})
}

func TestClosingWaitsForTheQuestion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &hanging{after: time.Second}
		prom := collector(t, metrics.WithMigrator(m))
		scrape(t, prom)
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() {
				if err := prom.Close(); err != nil || m.ended != 1 {
					t.Errorf("closed with %d questions ended, %v", m.ended, err)
				}
			})
		}
		both.Wait()
		scrape(t, prom).must(t, series{errorCount: 0}) // nobody has failed
	})
}

func TestUnregisteringWaitsForTheQuestion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &hanging{after: time.Second}
		r, provider := newReader()
		registration, err := metrics.Register(provider.Meter("test"), metrics.WithMigrator(m))
		if err != nil {
			t.Fatal(err)
		}
		collect(t, t.Context(), r)
		if err := registration.Unregister(); err != nil || m.ended != 1 {
			t.Errorf("unregistered with %d questions ended, %v", m.ended, err)
		}
	})
}

func TestAMasterThatHangsCostsNothingElse(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	pool := admin(t, dsn)
	db, p := open(t, dsn, plugin.BySchema())
	m := migrator.New(db, migrator.List{tenant(t, "acme")}, migrations())
	if _, err := m.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	quiet := metrics.WithLogger(slog.New(slog.DiscardHandler))
	prom := collector(t, metrics.WithPlugin(p), metrics.WithMigrator(m), metrics.WithMaxAge(0), quiet)
	eventually(t, "they are counted", func() bool { return scrape(t, prom)[currents] == 1 })

	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.Background()) }()
	if _, err := tx.Exec(t.Context(), "lock table tenantry.ledger in access exclusive mode"); err != nil {
		t.Fatal(err)
	}
	waits := func() (n int) {
		const sql = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
		if err := pool.QueryRow(t.Context(), sql).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for range 2 { // a second, each
		before := p.Stats().Statements
		if err := db.WithContext(as(t, "acme")).Exec("select 1").Error; err != nil {
			t.Fatal(err)
		}
		scrape(t, prom).must(t, series{currents: 1, errorCount: 0, "tenantry_statements_total": float64(before + 1)})
	}
	if n := waits(); n != 1 {
		t.Errorf("%d sessions wait for the ledger", n)
	}
	if err := prom.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nobody waits for the ledger", func() bool { return waits() == 0 })
}

func TestSourcesThatAreClosedAreShownOn(t *testing.T) {
	t.Parallel()
	s := newService(t)
	quiet := metrics.WithLogger(slog.New(slog.DiscardHandler))
	s.signUp(t, unique("schema"), "")
	prom, otel := collector(t, s.options(quiet)...), reader(t, s.options(quiet)...)
	before := scrape(t, prom)
	if err := s.plugin.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.catalog.Close(); err != nil {
		t.Fatal(err)
	}
	after := scrape(t, prom)
	mustHaveNames(t, after, before)
	after.must(t, series{
		"tenantry_statements_total":  before["tenantry_statements_total"],
		"tenantry_catalog_listening": 0,
		currents:                     1,
		errorCount:                   1,
	})
	if len(collect(t, t.Context(), otel)) == 0 {
		t.Error("OpenTelemetry sees nothing")
	}
}
