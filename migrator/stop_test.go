//go:build unix

package migrator_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/pgserver"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
)

// soon is how long it may take to stop, on a machine that is busy with other tests.
const soon = 10 * time.Second

// interruptible is a fleet whose migrations take a while, and count themselves.
func interruptible(t *testing.T, tenants int) (worker, *pgxpool.Pool) {
	t.Helper()
	w := worker{DSN: pgtest.Database(t), Tenants: tenants, Migrations: 2, Pause: 10 * time.Millisecond, Lease: time.Minute}
	pool := admin(t, w.DSN)
	if _, err := pool.Exec(t.Context(), "create table public.marks (tenant text, id text, process int)"); err != nil {
		t.Fatal(err)
	}
	return w, pool
}

// current returns the tenants that have all migrations, by their own account.
func current(t *testing.T, pool *pgxpool.Pool, migrations int) []string {
	t.Helper()
	return ask[[]string](t, pool, `select coalesce(array_agg(tenant order by tenant), '{}') from (
		select substr(tenant, 8) from public.marks group by tenant having count(*) = $1) o (tenant)`, migrations)
}

// TestACanceledRunStopsCleanlyAndTheNextGoesOn: what it says, what the ledger says,
// and what is, are the same.
func TestACanceledRunStopsCleanlyAndTheNextGoesOn(t *testing.T) {
	t.Parallel()
	w, pool := interruptible(t, 60)
	db := open(t, w.DSN, plugin.BySchema())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var canceled atomic.Pointer[time.Time]
	m := migrator.New(db, w.list(), w.marked(), migrator.WithProgress(func(e migrator.Event) {
		if e.Kind == migrator.EventDone && e.Done == 20 {
			now := time.Now()
			canceled.Store(&now)
			cancel()
		}
	}))

	report, err := m.Run(ctx)
	if took := time.Since(*canceled.Load()); took > soon {
		t.Errorf("it took %s to stop", took)
	}
	var runErr *migrator.RunError
	if !errors.Is(err, context.Canceled) || !errors.As(err, &runErr) {
		t.Fatalf("got error %v", err)
	}
	done := current(t, pool, w.Migrations)
	if len(done) < 20 || len(done) > 40 {
		t.Errorf("%d tenants are done, and it was stopped when 20 were", len(done))
	}
	if words := fmt.Sprintf("%d current, 0 failed, %d not done", len(done), 60-len(done)); !strings.Contains(err.Error(), words) {
		t.Errorf("the error does not say %q: %v", words, err)
	}
	checkPartly(t, m, report, done)

	again, err := m.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range again.Results {
		if before := slices.Contains(done, r.Tenant.String()); before != (len(r.Applied) == 0) {
			t.Errorf("the next run has applied %q for %s, which was done before: %t", r.Applied, r.Tenant, before)
		}
	}
	checkFinished(t, w, m, pool)
}

// checkPartly checks what is said of a run that was stopped.
func checkPartly(t *testing.T, m *migrator.Migrator, report migrator.Report, done []string) {
	t.Helper()
	for _, r := range report.Results {
		want := migrator.Pending
		if slices.Contains(done, r.Tenant.String()) {
			want = migrator.Current
		}
		if r.State != want || want == migrator.Current && r.Err != nil {
			t.Errorf("the report says of %s: %+v", r.Tenant, r)
		}
	}
	list, err := m.Status(t.Context(), migrator.Selection{States: []migrator.State{migrator.Current}})
	if err != nil {
		t.Fatal(err)
	}
	var known []string
	for _, s := range list {
		known = append(known, s.Tenant.ID.String())
	}
	if slices.Sort(known); !slices.Equal(known, done) {
		t.Errorf("by the ledger, %q are done, but %q are", known, done)
	}
	if list, err := m.Status(t.Context(), migrator.Selection{States: []migrator.State{migrator.Pending}}); err != nil || len(list) != len(report.Results)-len(done) {
		t.Errorf("by the ledger, %d are pending, %v", len(list), err)
	}
	runs, err := m.Runs(t.Context(), 1)
	if err != nil || runs[0].State != migrator.RunInterrupted || runs[0].Done != len(done) || runs[0].Tenants != len(report.Results) {
		t.Errorf("got the runs %+v, %v", runs, err)
	}
	if found, err := m.Verify(t.Context(), migrator.Selection{}); err != nil || len(found.Mended) > 0 {
		t.Errorf("the ledger was wrong: %+v, %v", found, err)
	}
}

// checkFinished checks that each tenant has each migration, once.
func checkFinished(t *testing.T, w worker, m *migrator.Migrator, pool *pgxpool.Pool) {
	t.Helper()
	checkAllCurrent(t, m, w.Tenants)
	got := ask[string](t, pool, "select count(*) || ' ' || count(distinct (tenant, id)) from public.marks")
	if want := fmt.Sprintf("%d %[1]d", w.Tenants*w.Migrations); got != want {
		t.Errorf("migrations that ran, and different ones: %s, want %s", got, want)
	}
}

// TestASignalStopsAProcessAndTheNextGoesOn has one process stopped by a signal,
// and then two of a run.
func TestASignalStopsAProcessAndTheNextGoesOn(t *testing.T) {
	t.Parallel()
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			w, pool := interruptible(t, 120)
			p := w.start(t)
			await(t, "some tenants are done", func() bool { return len(current(t, pool, w.Migrations)) >= 10 })
			if err := p.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			p.wait(t, soon)
			var out told
			if err := json.Unmarshal(p.out.Bytes(), &out); err != nil {
				t.Fatalf("it said %q, %s: %v", &p.out, &p.errs, err)
			}
			done := current(t, pool, w.Migrations)
			if slices.Sort(out.Current); !slices.Equal(out.Current, done) || len(out.Pending) != w.Tenants-len(done) || len(out.Pending) == 0 || !out.Canceled {
				t.Errorf("it says that %d are done and %d are not, and %d are: %s", len(out.Current), len(out.Pending), len(done), out.Error)
			}
			// The lease is a minute: the next one must not wait for it.
			w.start(t).mustEnd(t, patience)
			m, closeAll, err := w.migrator()
			if err != nil {
				t.Fatal(err)
			}
			checkFinished(t, w, m, pool)
			if err := closeAll(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestOneStoppedProcessLeavesItsTenantsToTheOthers: at once, not when its lease
// has ended.
func TestOneStoppedProcessLeavesItsTenantsToTheOthers(t *testing.T) {
	t.Parallel()
	w, pool := interruptible(t, 120)
	stopped, stays := w.start(t), w.start(t)
	await(t, "both are at work", func() bool {
		return ask[int](t, pool, "select count(distinct process) from public.marks") == 2
	})
	if err := stopped.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	stopped.wait(t, soon)
	stays.mustEnd(t, patience)
	m, closeAll, err := w.migrator()
	if err != nil {
		t.Fatal(err)
	}
	checkFinished(t, w, m, pool)
	if runs, err := m.Runs(t.Context(), 5); err != nil || len(runs) != 1 || runs[0].State != migrator.RunDone || runs[0].Done != w.Tenants {
		t.Errorf("got the runs %+v, %v", runs, err)
	}
	if err := closeAll(); err != nil {
		t.Error(err)
	}
}

// TestACommitThatIsCutOffIsFoundByTheNextRun: the context ends while PostgreSQL
// commits, so that the process can't know. The tenant isn't migrated twice, and what
// was done can be rolled back.
func TestACommitThatIsCutOffIsFoundByTheNextRun(t *testing.T) {
	t.Setenv(pgserver.EnvDSN, "")
	// A commit waits for a standby that isn't there, where it is told to.
	server := pgtest.Server(t, pgserver.WithSetting("synchronous_standby_names", "nobody"), pgserver.WithSetting("synchronous_commit", "local"))
	dsn := pgtest.DatabaseOn(t, server.DSN())
	db, pool := open(t, dsn, plugin.BySchema()), admin(t, dsn)
	list := tenants(t, "acme", "globex")
	if _, err := migrator.New(db, list, two).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	third := text("0003", "create table third (id int); set local synchronous_commit = 'on'")
	third.Rollback = func(tx *gorm.DB) error { return tx.Exec("drop table third").Error }
	m := migrator.New(db, list[:1], append(slices.Clone(two), third))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for !ask[bool](t, pool, "select exists (select from pg_stat_activity where wait_event = 'SyncRep')") {
		}
		cancel()
	}()
	first, err := m.Run(ctx)
	if !errors.Is(err, context.Canceled) || first.Results[0].State == migrator.Failed {
		t.Fatalf("got %+v, %v", first, err)
	}
	await(t, "the commit is through", func() bool {
		return ask[string](t, pool, tablesOf, "tenant_acme") == "invoices migrations third"
	})
	next, err := m.Run(t.Context())
	if err != nil || next.Results[0].State != migrator.Current {
		t.Fatalf("the next run: %+v, %v", next, err)
	}
	checkAllCurrent(t, m, 1)
	// Whichever of the runs has been credited with it.
	run := first.Run
	if ask[bool](t, pool, "select applied = '[]' from tenantry.results where run = $1", run) {
		run = next.Run
	}
	report, err := m.RollbackRun(t.Context(), run)
	if err != nil || !slices.Equal(report.Results[0].RolledBack, []string{"0003"}) {
		t.Errorf("the run could not be rolled back: %+v, %v", report, err)
	}
}
