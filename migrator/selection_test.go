package migrator_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-gormigrate/gormigrate/v2"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// TestOnlyTheSelectedAreMigrated, and reported.
func TestOnlyTheSelectedAreMigrated(t *testing.T) {
	t.Parallel()
	fleet := rings(t, "early-a-s1", "early-b-s2", "late-c-s1", "late-d-s2")
	early := map[string]string{"ring": "early"}
	tests := map[string]struct {
		selection migrator.Selection
		want      string
	}{
		"all":                 {migrator.Selection{}, "early-a-s1 early-b-s2 late-c-s1 late-d-s2"},
		"by id":               {migrator.Selection{IDs: tenants(t, "late-d-s2", "early-a-s1")}, "early-a-s1 late-d-s2"},
		"by label":            {migrator.Selection{Labels: early}, "early-a-s1 early-b-s2"},
		"by server":           {migrator.Selection{Servers: []string{"s2"}}, "early-b-s2 late-d-s2"},
		"by label and server": {migrator.Selection{Labels: early, Servers: []string{"s2", "s3"}}, "early-b-s2"},
		"by state":            {migrator.Selection{States: []migrator.State{migrator.Pending}, First: 3}, "early-a-s1 early-b-s2 late-c-s1"},
		"none":                {migrator.Selection{States: []migrator.State{migrator.Failed}}, ""},
		"by no such label":    {migrator.Selection{Labels: map[string]string{"ring": ""}}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var seen touches
			m := migrator.New(open(t, pgtest.Database(t), plugin.BySchema()), fleet, append(slices.Clone(two), seen.migration()))
			report, err := m.Run(t.Context(), migrator.Only(tt.selection))
			var reported []string
			for _, r := range report.Results {
				reported = append(reported, r.Tenant.String())
			}
			if got := seen.sorted(); err != nil || got != tt.want || strings.Join(reported, " ") != tt.want {
				t.Errorf("migrated %q and reported %q, %v, want %q", got, reported, err, tt.want)
			}
			status, err := m.Status(t.Context(), migrator.Selection{States: []migrator.State{migrator.Current}})
			if err != nil || len(status) != len(reported) {
				t.Errorf("%d tenants are current, %v", len(status), err)
			}
		})
	}
}

func TestSelectionsThatCannotBeMeantAreRefused(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	m := migrator.New(open(t, dsn, plugin.BySchema()), tenants(t, "acme"), two)
	for _, s := range []migrator.Selection{{IDs: tenants(t, "acme", "ghost")}, {First: -1}, {States: []migrator.State{"done"}}, {IDs: []scope.Tenant{{}}}} {
		if _, err := m.Run(t.Context(), migrator.Only(s)); err == nil {
			t.Errorf("Run: %+v is accepted", s)
		}
		if _, err := m.Status(t.Context(), s); err == nil {
			t.Errorf("Status: %+v is accepted", s)
		}
		if _, err := m.Verify(t.Context(), s); err == nil {
			t.Errorf("Verify: %+v is accepted", s)
		}
	}
	for name, o := range map[string]migrator.RunOption{"nil": nil, "To nothing": migrator.To(""), "To nowhere": migrator.To("0009"), "StopAfter": migrator.StopAfter(0)} {
		if _, err := m.Run(t.Context(), o); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if _, err := m.Rollback(t.Context(), "0001", migrator.To("0001")); err == nil {
		t.Error("a rollback with To is accepted")
	}
	if n := ask[int](t, admin(t, dsn), "select count(*)::int from pg_namespace where nspname = 'tenant_acme'"); n != 0 {
		t.Error("a schema was made")
	}
}

func TestToLeavesTheRestForLater(t *testing.T) {
	t.Parallel()
	list := tenants(t, "acme", "globex")
	m := migrator.New(open(t, pgtest.Database(t), plugin.BySchema()), list, two)
	report, err := m.Run(t.Context(), migrator.To("0001"))
	if err != nil {
		t.Fatal(err)
	}
	checkApplied(t, report, list, "0001")
	report, err = m.Run(t.Context(), migrator.To("0001"))
	if err != nil || report.Run != 0 {
		t.Errorf("run %d, %v", report.Run, err)
	}
	checkApplied(t, report, list)
	status, err := m.Status(t.Context(), migrator.Selection{States: []migrator.State{migrator.Pending}})
	if err != nil || len(status) != 2 || !slices.Equal(status[0].Pending, []string{"0002"}) || status[0].Last != "0001" {
		t.Errorf("got %+v, %v", status, err)
	}
	report, err = m.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	checkApplied(t, report, list, "0002")
}

// TestOnlyWhatFailedIsTriedAgain leaves alone what has not had its turn.
func TestOnlyWhatFailedIsTriedAgain(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	db, list := open(t, dsn, plugin.BySchema()), tenants(t, "a", "b", "c", "d", "e")
	var seen touches
	if _, err := migrator.New(db, list[:4], append(slices.Clone(two), seen.migration("b", "d"))).Run(t.Context()); !errors.Is(err, errBoom) {
		t.Fatal(err)
	}
	_ = seen.sorted()
	m := migrator.New(db, list, append(slices.Clone(two), seen.migration()))
	if _, err := m.Run(t.Context(), migrator.Only(migrator.Selection{States: []migrator.State{migrator.Failed}})); err != nil {
		t.Fatal(err)
	}
	if got := seen.sorted(); got != "b d" {
		t.Errorf("touched %q, want the failed ones", got)
	}
}

// TestProcessesThatShareARunSelectOnce: what the first has taken is not pending any
// more when the second looks, and yet three are three.
func TestProcessesThatShareARunSelectOnce(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	pool, list := admin(t, dsn), many(t, 8)
	var seen touches
	gate := make(chan struct{})
	migrations := append(slices.Clone(two), seen.migration(), &gormigrate.Migration{ID: "0004", Migrate: func(*gorm.DB) error { <-gate; return nil }})
	only := migrator.Only(migrator.Selection{States: []migrator.State{migrator.Pending}, First: 3})
	var wg sync.WaitGroup
	for n := range 2 {
		db := open(t, dsn, plugin.BySchema())
		wg.Go(func() {
			if _, err := migrator.New(db, list, migrations).Run(t.Context(), only); err != nil {
				t.Error(err)
			}
		})
		if n == 0 {
			until(t, "the first has its tenants", func() bool {
				var n int
				err := pool.QueryRow(t.Context(), "select count(*) from tenantry.ledger where state = 'running'").Scan(&n)
				return err == nil && n == 3
			})
		}
	}
	until(t, "the second has joined", func() bool { return ask[int](t, pool, "select count(*)::int from tenantry.workers") == 2 })
	close(gate)
	wg.Wait()
	if got := seen.sorted(); got != "t00 t01 t02" {
		t.Errorf("touched %q, want three tenants", got)
	}
}
