package migrator_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
)

// TestEventsTellTheRun, each tenant's in order, and one at a time.
func TestEventsTellTheRun(t *testing.T) {
	t.Parallel()
	list := many(t, 12)
	var seen touches
	var inside atomic.Int64
	var events []migrator.Event
	m := migrator.New(open(t, pgtest.Database(t), plugin.BySchema()), list, append(slices.Clone(two), seen.migration("t05")),
		migrator.WithShared(migrator.Migrations{text("s1", "create table plans ()")}),
		migrator.WithProgress(func(e migrator.Event) {
			if inside.Add(1) != 1 {
				t.Error("two at a time")
			}
			defer inside.Add(-1)
			events = append(events, e)
		}))
	report, err := m.Run(t.Context())
	if !errors.Is(err, errBoom) {
		t.Fatal(err)
	}
	if e := events[0]; e.Kind != migrator.EventApplied || e.Migration != "s1" || !e.Tenant.IsZero() || e.Duration <= 0 {
		t.Errorf("the shared tables: %+v", e)
	}
	told := map[string][]string{}
	done, failed := 0, 0
	for _, e := range events[1:] {
		if e.Kind == migrator.EventWaiting {
			continue
		}
		told[e.Tenant.String()] = append(told[e.Tenant.String()], strings.TrimSpace(fmt.Sprint(e.Kind, " ", e.Migration)))
		switch e.Kind {
		case migrator.EventFailed:
			failed++
			done++
		case migrator.EventDone:
			done++
		}
		if e.Run != report.Run || e.Total != len(list) || e.Done != done || e.Failed != failed || (e.Err != nil) != (e.Kind == migrator.EventFailed) {
			t.Errorf("got %+v when %d are done and %d failed", e, done, failed)
		}
		if (e.Duration > 0) != (e.Kind != migrator.EventStarted) {
			t.Errorf("%s took %s", e.Kind, e.Duration)
		}
	}
	if done != len(list) || failed != 1 {
		t.Errorf("%d are done, %d failed", done, failed)
	}
	for _, tenant := range list {
		want := "started, applied 0001, applied 0002, applied 3, done"
		if tenant.String() == "t05" {
			want = "started, failed" // what was rolled back was not applied
		}
		if got := strings.Join(told[tenant.String()], ", "); got != want {
			t.Errorf("%s: %s, want %s", tenant, got, want)
		}
	}
	events = nil
	if _, err := m.Rollback(t.Context(), "0002"); err == nil || len(events) != 0 {
		t.Errorf("a rollback that can't be begun: %v, %+v", err, events)
	}
}

// TestEventsCountWhatOthersHaveDone, too: two processes share the run.
func TestEventsCountWhatOthersHaveDone(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	list := many(t, 32)
	slow := append(slices.Clone(two), text("0003", "select pg_sleep(0.2)"))
	var wg sync.WaitGroup
	for range 2 {
		db := open(t, dsn, plugin.BySchema())
		wg.Go(func() {
			last, most := 0, 0
			report, err := migrator.New(db, list, slow, migrator.WithConcurrency(2), migrator.WithProgress(func(e migrator.Event) {
				if e.Total > 0 && (e.Done > e.Total || e.Total != len(list) || e.Done < last) {
					t.Errorf("%d of %d are done, after %d", e.Done, e.Total, last)
				}
				last = e.Done
				most = max(most, e.Done)
			})).Run(t.Context())
			own := 0
			for _, r := range report.Results {
				own += min(r.Attempts, 1)
			}
			if err != nil || own < len(list) && most <= own {
				t.Errorf("%d of %d were seen done, %d by itself, %v", most, len(list), own, err)
			}
		})
	}
	wg.Wait()
}

// TestWaitingForAnotherRunIsTold.
func TestWaitingForAnotherRunIsTold(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	list := tenants(t, "acme", "globex")
	var waited atomic.Int64
	second := migrator.New(open(t, dsn, plugin.BySchema()), list, two, migrator.WithProgress(func(e migrator.Event) {
		if e.Kind == migrator.EventWaiting && e.Tenant.IsZero() {
			waited.Store(e.Run)
		}
	}))
	ended := make(chan error, 1)
	started := sync.OnceFunc(func() { go func() { _, err := second.Run(t.Context()); ended <- err }() })
	first := migrator.New(open(t, dsn, plugin.BySchema()), list, two, migrator.WithProgress(func(e migrator.Event) {
		if e.Kind == migrator.EventStarted {
			started()
			until(t, "the other waits", func() bool { return waited.Load() != 0 })
		}
	}))
	report, err := first.Run(t.Context(), migrator.To("0001")) // another order
	if err != nil || waited.Load() != report.Run {
		t.Errorf("waited for run %d, not %d, %v", waited.Load(), report.Run, err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestAPanicOfTheProgressFunctionIsItsOwn, and no tenant's or migration's: the run goes
// on, and the log names it.
func TestAPanicOfTheProgressFunctionIsItsOwn(t *testing.T) {
	t.Parallel()
	list := many(t, 3)
	var log bytes.Buffer
	m := migrator.New(open(t, pgtest.Database(t), plugin.BySchema()), list, two, migrator.WithShared(migrator.Migrations{text("s1", "create table plans ()")}),
		migrator.WithProgress(func(e migrator.Event) { panic("of my own, at " + e.Kind) }),
		migrator.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	report, err := m.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	checkApplied(t, report, list, "0001", "0002")
	for _, w := range []string{"of my own, at applied", "of my own, at done", "WithProgress", "tenant=t02", "event_test.go"} {
		if !strings.Contains(log.String(), w) {
			t.Errorf("the log does not have %q: %s", w, log.String())
		}
	}
}
