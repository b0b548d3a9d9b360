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

// reversible is three tables, and what is needed to drop them.
func reversible() []*gormigrate.Migration {
	var all []*gormigrate.Migration
	for _, name := range []string{"one", "two", "three"} {
		all = append(all, &gormigrate.Migration{
			ID:       name,
			Migrate:  func(tx *gorm.DB) error { return tx.Exec("create table " + name + " (id bigint primary key)").Error },
			Rollback: func(tx *gorm.DB) error { return tx.Exec("drop table " + name).Error },
		})
	}
	// Each needs the one before: another order than last first fails.
	all[1].Migrate = func(tx *gorm.DB) error {
		return tx.Exec("create table two (id bigint primary key references one)").Error
	}
	all[2].Migrate = func(tx *gorm.DB) error {
		return tx.Exec("create table three (id bigint primary key references two)").Error
	}
	return all
}

// TestRollbackUndoesTheLastFirst, by two processes at once, each step once.
func TestRollbackUndoesTheLastFirst(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	db, pool, list := open(t, dsn, plugin.BySchema()), admin(t, dsn), many(t, 6)
	if _, err := migrator.New(db, list, reversible()).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex // guards undone
	undone := 0
	for range 2 {
		db := open(t, dsn, plugin.BySchema())
		wg.Go(func() {
			report, err := migrator.New(db, list, reversible()).Rollback(t.Context(), "one")
			if err != nil {
				t.Error(err)
			}
			for _, r := range report.Results {
				mu.Lock()
				undone += len(r.RolledBack)
				mu.Unlock()
				if len(r.RolledBack) > 0 && !slices.Equal(r.RolledBack, []string{"three", "two"}) || len(r.Applied) > 0 || r.State != migrator.Current {
					t.Errorf("got %+v", r)
				}
			}
		})
	}
	wg.Wait()
	if undone != 2*len(list) {
		t.Errorf("%d steps were undone", undone)
	}
	for _, tenant := range list {
		if got := ask[string](t, pool, tablesOf, "tenant_"+tenant.String()); got != "migrations one" {
			t.Errorf("%s has the tables %q", tenant, got)
		}
	}
	m := migrator.New(db, list, reversible())
	if report, err := m.Rollback(t.Context(), "one"); err != nil || report.Run != 0 {
		t.Errorf("once more: run %d, %v", report.Run, err)
	}
	if status, err := m.Status(t.Context(), migrator.Selection{}); err != nil || status[0].Last != "one" || status[0].Applied != 1 || status[0].State != migrator.Pending {
		t.Errorf("got %+v, %v", status, err)
	}
	for _, to := range []string{"", "nothing"} {
		if _, err := m.Rollback(t.Context(), to); err == nil {
			t.Errorf("a rollback to %q is accepted", to)
		}
	}
}

func TestWithoutARollbackFunctionNothingIsUndone(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	list := tenants(t, "acme")
	migrations := reversible()
	migrations[1].Rollback = nil
	m := migrator.New(open(t, dsn, plugin.BySchema()), list, migrations)
	run, err := m.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var tenantErr *scope.TenantError
	if _, err := m.Rollback(t.Context(), "one"); !errors.Is(err, migrator.ErrNoRollback) || !errors.As(err, &tenantErr) || !strings.Contains(err.Error(), `"two"`) {
		t.Errorf("got error %v", err)
	}
	if _, err := m.RollbackRun(t.Context(), run.Run); !errors.Is(err, migrator.ErrNoRollback) {
		t.Errorf("got error %v", err)
	}
	if got := ask[string](t, admin(t, dsn), tablesOf, "tenant_acme"); got != "migrations one three two" {
		t.Errorf("the tables are %q", got)
	}
	if _, err := m.Rollback(t.Context(), "two"); err != nil { // what has one can be undone
		t.Error(err)
	}
}

// TestAFailingRollbackUndoesNothing of its tenant.
func TestAFailingRollbackUndoesNothing(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	migrations := reversible()
	migrations[1].Rollback = func(*gorm.DB) error { return errBoom }
	m := migrator.New(open(t, dsn, plugin.BySchema()), tenants(t, "acme"), migrations)
	if _, err := m.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if report, err := m.Rollback(t.Context(), "one"); !errors.Is(err, errBoom) || len(report.Results[0].RolledBack) > 0 || !strings.Contains(err.Error(), "roll back") {
		t.Errorf("got %+v, %v", report, err)
	}
	if got := ask[string](t, admin(t, dsn), tablesOf, "tenant_acme"); got != "migrations one three two" {
		t.Errorf("the tables are %q", got)
	}
}

// TestRollbackRunUndoesWhatTheRunDid and nothing else.
func TestRollbackRunUndoesWhatTheRunDid(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	db, pool, list := open(t, dsn, plugin.BySchema()), admin(t, dsn), tenants(t, "ahead", "behind", "new")
	all := reversible()
	if _, err := migrator.New(db, list[:1], all).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := migrator.New(db, list[1:2], all[:1]).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	newer := migrator.New(db, list, all)
	report, err := migrator.New(db, list, all[:2], migrator.WithUnknownMigrations()).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	undo, err := newer.RollbackRun(t.Context(), report.Run)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]string{nil, {"two"}, {"two", "one"}} {
		if got := undo.Results[i].RolledBack; !slices.Equal(got, want) {
			t.Errorf("%s: rolled back %q, want %q", list[i], got, want)
		}
	}
	for tenant, want := range map[string]string{"ahead": "migrations one three two", "behind": "migrations one", "new": "migrations"} {
		if got := ask[string](t, pool, tablesOf, "tenant_"+tenant); got != want {
			t.Errorf("%s has the tables %q, want %q", tenant, got, want)
		}
	}
	for _, run := range []int64{0, -1, 999} {
		if _, err := newer.RollbackRun(t.Context(), run); err == nil {
			t.Errorf("run %d is accepted", run)
		}
	}
}

// TestRollbackRunRefusesWhatLaterRunsBuiltOn before anything is undone.
func TestRollbackRunRefusesWhatLaterRunsBuiltOn(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	db, list := open(t, dsn, plugin.BySchema()), tenants(t, "acme", "globex")
	all := reversible()
	first, err := migrator.New(db, list, all[:2]).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m := migrator.New(db, list, all)
	if _, err := m.Run(t.Context(), migrator.Only(migrator.Selection{IDs: list[1:]})); err != nil {
		t.Fatal(err)
	}
	if _, err := m.RollbackRun(t.Context(), first.Run); err == nil || !strings.Contains(err.Error(), `"three"`) || !strings.Contains(err.Error(), "globex") {
		t.Errorf("got error %v", err)
	}
	pool := admin(t, dsn)
	for tenant, want := range map[string]string{"acme": "migrations one two", "globex": "migrations one three two"} {
		if got := ask[string](t, pool, tablesOf, "tenant_"+tenant); got != want {
			t.Errorf("%s has the tables %q, want %q", tenant, got, want)
		}
	}
	// Without the one that is ahead it goes.
	if _, err := m.RollbackRun(t.Context(), first.Run, migrator.Only(migrator.Selection{IDs: list[:1]})); err != nil {
		t.Error(err)
	}
}

// TestRollbackRunLeavesALaterRunsWorkAlone: what a run did and was undone since, and
// has been done by a later run, is the later one's.
func TestRollbackRunLeavesALaterRunsWorkAlone(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	m := migrator.New(open(t, dsn, plugin.BySchema()), tenants(t, "acme"), reversible())
	first, err := m.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.RollbackRun(t.Context(), first.Run); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if report, err := m.RollbackRun(t.Context(), first.Run); err == nil && len(report.Results[0].RolledBack) > 0 {
		t.Errorf("undone once more: %+v", report.Results)
	}
	if got := ask[string](t, admin(t, dsn), tablesOf, "tenant_acme"); got != "migrations one three two" {
		t.Errorf("the tables are %q", got)
	}
}

// TestRollbackRunDoesNotTouchAnotherTenantOfTheSameID: the first was dropped, and
// the second made with all its tables.
func TestRollbackRunDoesNotTouchAnotherTenantOfTheSameID(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	db, pool, acme := open(t, dsn, plugin.BySchema()), admin(t, dsn), tenants(t, "acme", "globex")
	fleet := labelled{{ID: acme[0], Incarnation: "1"}, {ID: acme[1], Incarnation: "1"}}
	first, err := migrator.New(db, fleet, reversible()).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mustExec(t, pool, "drop schema tenant_acme cascade", "create schema tenant_acme")
	err = migrator.Migrations(reversible()).Apply(scope.With(t.Context(), acme[0]), migrator.NewPlace{DB: db})
	if err != nil {
		t.Fatal(err)
	}
	fleet = labelled{{ID: acme[0], Incarnation: "2"}, fleet[1]}
	if _, err := migrator.New(db, fleet, reversible()).RollbackRun(t.Context(), first.Run); err != nil {
		t.Error(err)
	}
	for tenant, want := range map[string]string{"acme": "migrations one three two", "globex": "migrations"} {
		if got := ask[string](t, pool, tablesOf, "tenant_"+tenant); got != want {
			t.Errorf("%s has the tables %q, want %q", tenant, got, want)
		}
	}
}

// TestRollbackBeneathANewerProgramIsRefused, even where its migrations are allowed:
// what they have built may stand on what would be undone.
func TestRollbackBeneathANewerProgramIsRefused(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	db, list := open(t, dsn, plugin.BySchema()), tenants(t, "acme")
	all := reversible()
	all[2].Migrate = func(tx *gorm.DB) error { return tx.Exec("create table three (id bigint primary key)").Error }
	if _, err := migrator.New(db, list, all).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := migrator.New(db, list, all[:2], migrator.WithUnknownMigrations()).Rollback(t.Context(), "one"); err == nil {
		t.Error("it is accepted")
	}
	if got := ask[string](t, admin(t, dsn), tablesOf, "tenant_acme"); got != "migrations one three two" {
		t.Errorf("the tables are %q", got)
	}
}

// TestAnIndexIsUndoneOutsideOfATransaction.
func TestAnIndexIsUndoneOutsideOfATransaction(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	marked := migrator.NoTransaction(&gormigrate.Migration{
		ID: "four", Migrate: func(tx *gorm.DB) error { return tx.Exec("create index concurrently by_id on three (id)").Error },
		Rollback: func(tx *gorm.DB) error { return tx.Exec("drop index concurrently by_id").Error },
	})
	m := migrator.New(open(t, dsn, plugin.BySchema()), many(t, 3), append(reversible(), marked))
	if _, err := m.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	report, err := m.Rollback(t.Context(), "two")
	if err != nil || !slices.Equal(report.Results[0].RolledBack, []string{"four", "three"}) {
		t.Errorf("got %+v, %v", report, err)
	}
	if got := ask[string](t, admin(t, dsn), tablesOf, "tenant_t00"); got != "migrations one two" {
		t.Errorf("the tables are %q", got)
	}
}
