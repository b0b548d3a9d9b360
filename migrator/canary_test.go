package migrator_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-gormigrate/gormigrate/v2"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

var errBoom = errors.New("boom")

// touches remembers which tenants a migration was called for.
type touches struct {
	mu  sync.Mutex // guards who
	who []string
}

// migration remembers its tenants and fails for the given ones.
func (c *touches) migration(failing ...string) *gormigrate.Migration {
	return &gormigrate.Migration{ID: "3", Migrate: func(tx *gorm.DB) error {
		tenant, err := scope.From(tx.Statement.Context)
		if err != nil {
			return err
		}
		c.mu.Lock()
		c.who = append(c.who, tenant.String())
		c.mu.Unlock()
		if slices.Contains(failing, tenant.String()) {
			return errBoom
		}
		return tx.Exec("create table notes (id bigint)").Error
	}}
}

// sorted returns the tenants since the last call.
func (c *touches) sorted() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	slices.Sort(c.who)
	all := strings.Join(c.who, " ")
	c.who = nil
	return all
}

// labelled is a fleet with labels and servers.
type labelled []migrator.Tenant

func (l labelled) Tenants(ctx context.Context) iter.Seq2[migrator.Tenant, error] {
	return func(yield func(migrator.Tenant, error) bool) {
		for _, t := range l {
			if !yield(t, nil) {
				return
			}
		}
	}
}

// rings is a fleet of ids that begin with their label "ring" and end with their
// server.
func rings(t testing.TB, ids ...string) labelled {
	t.Helper()
	list := make(labelled, len(ids))
	for i, tenant := range tenants(t, ids...) {
		parts := strings.Split(tenant.String(), "-")
		list[i] = migrator.Tenant{ID: tenant, Labels: map[string]string{"ring": parts[0]}, Server: parts[len(parts)-1]}
	}
	return list
}

// TestAFailedCanaryKeepsTheOthersFromStarting, however canaries are chosen, and in
// every process that shares the run.
func TestAFailedCanaryKeepsTheOthersFromStarting(t *testing.T) {
	t.Parallel()
	ids := []string{"early-a-s1", "early-b-s2", "late-c-s1", "late-d-s2", "late-e-s1"}
	fleet := rings(t, ids...)
	tests := map[string]struct {
		canary  migrator.Selection
		failing string
		touched string
	}{
		"by id":              {migrator.Selection{IDs: tenants(t, "late-c-s1")}, "late-c-s1", "late-c-s1"},
		"by label":           {migrator.Selection{Labels: map[string]string{"ring": "early"}}, "early-b-s2", "early-a-s1 early-b-s2"},
		"by count":           {migrator.Selection{First: 2}, "early-a-s1", "early-a-s1 early-b-s2"},
		"by label and count": {migrator.Selection{Labels: map[string]string{"ring": "late"}, First: 1}, "late-c-s1", "late-c-s1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := pgtest.Database(t)
			var seen touches
			migrations := append(slices.Clone(two), seen.migration(tt.failing))
			var wg sync.WaitGroup
			for range 2 {
				db := open(t, dsn, plugin.BySchema())
				wg.Go(func() {
					report, err := migrator.New(db, fleet, migrations).Run(t.Context(), migrator.Canary(tt.canary))
					var run *migrator.RunError
					if !errors.Is(err, migrator.ErrStopped) || !errors.As(err, &run) || run.Failed != 1 || !strings.Contains(err.Error(), "boom") {
						t.Errorf("got error %v, want ErrStopped and the canary's own", err)
					}
					touched := len(strings.Fields(tt.touched))
					if n := report.Count(migrator.Pending); n != len(fleet)-touched {
						t.Errorf("%d tenants are left pending, want %d: %+v", n, len(fleet)-touched, report.Results)
					}
				})
			}
			wg.Wait()
			// The second process may have come when the first was through, and tried the
			// failed canary once more.
			if got := strings.Fields(seen.sorted()); strings.Join(slices.Compact(got), " ") != tt.touched {
				t.Errorf("touched %q, want only %q", got, tt.touched)
			}

			// Mended, the canaries come first and the others follow.
			order := append(slices.Clone(two), seen.migration())
			report, err := migrator.New(open(t, dsn, plugin.BySchema()), fleet, order, migrator.WithConcurrency(1)).Run(t.Context(), migrator.Canary(tt.canary))
			if err != nil || report.Count(migrator.Current) != len(fleet) {
				t.Fatalf("%v, %+v", err, report)
			}
			if first := seen.who[0]; tt.canary.First != 2 && first != tt.failing {
				t.Errorf("%s came first, want the canary %s", first, tt.failing)
			}
		})
	}
}

func TestCanariesThatCannotBeAreRefused(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	m := migrator.New(open(t, dsn, plugin.BySchema()), tenants(t, "acme"), two)
	for _, s := range []migrator.Selection{{}, {First: -1}, {IDs: tenants(t, "ghost")}, {Labels: map[string]string{"ring": "early"}}, {States: []migrator.State{"fine"}}} {
		if _, err := m.Run(t.Context(), migrator.Canary(s)); err == nil {
			t.Errorf("%+v is accepted", s)
		}
	}
	if n := ask[int](t, admin(t, dsn), "select count(*)::int from pg_namespace where nspname like 'tenant\\_%'"); n != 0 {
		t.Errorf("%d schemas were made", n)
	}
}

// TestStopAfterBeginsNoOtherTenant: when migrations are quick, many tenants are
// claimed at a time, but what is claimed is not begun yet.
func TestStopAfterBeginsNoOtherTenant(t *testing.T) {
	t.Parallel()
	const fail, concurrency = 30, 2
	dsn := pgtest.Database(t)
	list := tenants(t, manyIDs(120)...)
	var calls atomic.Int64
	migrations := []*gormigrate.Migration{{ID: "0001", Migrate: func(*gorm.DB) error {
		if calls.Add(1) >= fail {
			return errBoom
		}
		return nil
	}}}
	m := migrator.New(open(t, dsn, plugin.BySchema()), list, migrations, migrator.WithConcurrency(concurrency))
	report, err := m.Run(t.Context(), migrator.StopAfter(3))
	if !errors.Is(err, migrator.ErrStopped) {
		t.Errorf("got error %v", err)
	}
	if n := calls.Load(); n > fail+2+concurrency {
		t.Errorf("%d tenants were begun, %d of them failed", n, n-fail+1)
	}
	done, failed, pending := report.Count(migrator.Current), report.Count(migrator.Failed), report.Count(migrator.Pending)
	if done != fail-1 || failed < 3 || failed > 3+concurrency || done+failed+pending != len(list) {
		t.Errorf("%d current, %d failed, %d pending", done, failed, pending)
	}
	if runs, err := m.Runs(t.Context(), 1); err != nil || len(runs) != 1 || runs[0].State != migrator.RunStopped {
		t.Errorf("the run is %+v, %v", runs, err)
	}
	// The rest is not held by anybody.
	calls.Store(-1000)
	report, err = m.Run(t.Context())
	if err != nil || report.Count(migrator.Current) != len(list) {
		t.Errorf("afterwards: %v", err)
	}
}

func manyIDs(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("t%03d", i)
	}
	return ids
}
