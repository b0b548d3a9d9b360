package migrator_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-gormigrate/gormigrate/v2"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

func TestStatusSaysWhoIsWhere(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	db, pool, list := open(t, dsn, plugin.BySchema()), admin(t, dsn), tenants(t, "fine", "bad", "later")
	migrations := append(slices.Clone(two), &gormigrate.Migration{ID: "0003", Migrate: func(tx *gorm.DB) error {
		if tenant, err := scope.From(tx.Statement.Context); err != nil || tenant.String() == "bad" {
			return tx.Exec("insert into invoices (id) values (7), (7)").Error
		}
		return nil
	}})
	m := migrator.New(db, list, migrations)
	before := ask[time.Time](t, pool, "select now()")
	status, err := m.Status(t.Context(), migrator.Selection{})
	if err != nil || len(status) != 3 {
		t.Fatalf("got %+v, %v", status, err)
	}
	for _, s := range status {
		if s.State != migrator.Pending || s.Last != "" || s.Applied != 0 || len(s.Pending) != 3 || s.Run != 0 || s.Attempts != 0 {
			t.Errorf("not seen yet: %+v", s)
		}
	}
	if _, err := migrator.New(db, list, two).Run(t.Context(), migrator.Only(migrator.Selection{IDs: list[:2]})); err != nil {
		t.Fatal(err)
	}
	var report migrator.Report
	for range 2 {
		if report, err = m.Run(t.Context(), migrator.Only(migrator.Selection{IDs: list[:2]})); code(err) != "23505" {
			t.Fatal(err)
		}
	}
	status, err = m.Status(t.Context(), migrator.Selection{})
	if err != nil || len(status) != 3 {
		t.Fatalf("got %+v, %v", status, err)
	}
	fine, bad, later := status[0], status[1], status[2]
	if fine.State != migrator.Current || fine.Last != "0003" || fine.Applied != 3 || len(fine.Pending) != 0 || fine.Failure != nil || fine.Attempts != 0 || fine.Since.Before(before) {
		t.Errorf("got %+v", fine)
	}
	if f := bad.Failure; bad.State != migrator.Failed || bad.Last != "0002" || !slices.Equal(bad.Pending, []string{"0003"}) || bad.Attempts != 2 || bad.Run != report.Run ||
		f == nil || f.Migration != "0003" || f.Code != "23505" || f.Detail == "" || !bad.Since.After(fine.Since) {
		t.Errorf("got %+v, %+v", bad, bad.Failure)
	}
	if later.State != migrator.Pending || later.Run != 0 {
		t.Errorf("got %+v", later)
	}
	runs, err := m.Runs(t.Context(), 2)
	if err != nil || len(runs) != 2 || runs[0].ID != report.Run || runs[0].State != migrator.RunFailed || runs[0].Tenants != 1 || runs[0].Failed != 1 || runs[0].Done != 0 ||
		runs[0].Finished.Before(runs[0].Started) || runs[0].By == "" || runs[1].Done != 1 || runs[1].Failed != 1 {
		t.Errorf("got %+v, %v", runs, err)
	}

	// Mended, nothing of it is left.
	if _, err := migrator.New(db, list, append(slices.Clone(two), text("0003", ""))).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	status, err = m.Status(t.Context(), migrator.Selection{IDs: list[1:2]})
	if err != nil || len(status) != 1 || status[0].State != migrator.Current || status[0].Failure != nil || status[0].Attempts != 0 {
		t.Errorf("got %+v, %v", status, err)
	}
}

// TestATenantAtWorkIsRunning, for other processes too, and what is not in the list
// is shown.
func TestATenantAtWorkIsRunning(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	list := tenants(t, "acme", "globex")
	var err error
	var status, older []migrator.Status
	other := migrator.New(open(t, dsn, plugin.BySchema()), list, two)
	migrations := append(slices.Clone(two), &gormigrate.Migration{ID: "0003", Migrate: func(tx *gorm.DB) error {
		status, err = other.Status(t.Context(), migrator.Selection{IDs: list[:1]})
		return err
	}})
	m := migrator.New(open(t, dsn, plugin.BySchema()), list, migrations)
	if _, err := m.Run(t.Context(), migrator.Only(migrator.Selection{IDs: list[:1]})); err != nil {
		t.Fatal(err)
	}
	if len(status) != 1 || status[0].State != migrator.Running {
		t.Errorf("while it is at work: %+v", status)
	}
	older, err = other.Status(t.Context(), migrator.Selection{})
	if err != nil || !slices.Equal(older[0].Unknown, []string{"0003"}) || older[0].State != migrator.Current || len(older[1].Unknown) != 0 {
		t.Errorf("an older program sees %+v, %v", older, err)
	}
}

// TestAFailureIsReportedToEveryProcess that shared the run, with what PostgreSQL
// said.
func TestAFailureIsReportedToEveryProcess(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	list := tenants(t, "acme", "globex")
	joined := make(chan struct{})
	migrations := append(slices.Clone(two), &gormigrate.Migration{ID: "0003", Migrate: func(tx *gorm.DB) error {
		<-joined
		return tx.Exec("insert into invoices (id) values (7), (7)").Error
	}})
	errs := make(chan error, 2)
	go func() {
		_, err := migrator.New(open(t, dsn, plugin.BySchema()), list, migrations).Run(t.Context())
		errs <- err
	}()
	pool := admin(t, dsn)
	until(t, "the first has all tenants", func() bool {
		var n int
		err := pool.QueryRow(t.Context(), "select count(*) from tenantry.ledger where state = 'running'").Scan(&n)
		return err == nil && n == len(list)
	})
	go func() {
		_, err := migrator.New(open(t, dsn, plugin.BySchema()), list, migrations).Run(t.Context())
		errs <- err
	}()
	until(t, "the second has joined", func() bool {
		return ask[int](t, pool, "select count(*)::int from tenantry.workers") == 2
	})
	close(joined)
	for range 2 {
		err := <-errs
		var run *migrator.RunError
		var tenantErr *scope.TenantError
		if !errors.As(err, &run) || run.Failed != 2 || run.Run != 1 || len(run.Errs) != 2 || !errors.As(err, &tenantErr) || tenantErr.Tenant != list[0] {
			t.Errorf("got error %v", err)
		}
		var f *migrator.Failure
		if code(err) != "23505" && (!errors.As(err, &f) || f.Code != "23505" || f.Migration != "0003") {
			t.Errorf("got error %v", err)
		}
	}
}

// TestRunResultsSayWhatARunHasDone, for its tenants at work and those whose turn never
// came, too.
func TestRunResultsSayWhatARunHasDone(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	db, list := open(t, dsn, plugin.BySchema()), tenants(t, "a-fine", "b-bad", "c-later")
	other := migrator.New(open(t, dsn, plugin.BySchema()), list, two)
	if _, err := other.RunResults(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "there is no run 1") {
		t.Errorf("got error %v", err)
	}
	var during []migrator.Result
	var duringErr error
	bad := &gormigrate.Migration{ID: "0002", Migrate: func(tx *gorm.DB) error {
		if tenant, err := scope.From(tx.Statement.Context); err != nil || tenant != list[1] {
			return err
		}
		during, duringErr = other.RunResults(t.Context(), 1)
		return tx.Exec("insert into invoices (id) values (7), (7)").Error
	}, Rollback: func(*gorm.DB) error { return nil }}
	migrations := []*gormigrate.Migration{two[0], bad}
	m := migrator.New(db, list, migrations, migrator.WithConcurrency(1))
	if report, err := m.Run(t.Context(), migrator.StopAfter(1)); code(err) != "23505" || report.Run != 1 {
		t.Fatalf("got %+v, %v", report, err)
	}
	if duringErr != nil || len(during) != 3 || during[1].State != migrator.Running || during[2].State == migrator.Current || during[2].Err != nil {
		t.Errorf("while it is at work: %+v, %v", during, duringErr)
	}
	got, err := other.RunResults(t.Context(), 1)
	if err != nil || len(got) != 3 {
		t.Fatalf("got %+v, %v", got, err)
	}
	var tenantErr *scope.TenantError
	var f *migrator.Failure
	if r := got[0]; r.Tenant != list[0] || r.State != migrator.Current || !slices.Equal(r.Applied, []string{"0001", "0002"}) || len(r.RolledBack) != 0 || r.Duration <= 0 || r.Err != nil {
		t.Errorf("got %+v", r)
	}
	if r := got[1]; r.State != migrator.Failed || len(r.Applied) != 0 || !errors.As(r.Err, &tenantErr) || tenantErr.Tenant != list[1] || !errors.As(r.Err, &f) || f.Code != "23505" || f.Migration != "0002" {
		t.Errorf("got %+v", r)
	}
	if r := got[2]; r.Tenant != list[2] || r.State != migrator.Pending || len(r.Applied) != 0 || r.Duration != 0 || r.Err != nil {
		t.Errorf("got %+v", r)
	}

	// A later run takes what was not done, and the error of what failed.
	if _, err := m.Run(t.Context()); code(err) != "23505" {
		t.Fatal(err)
	}
	got, err = other.RunResults(t.Context(), 1)
	if err != nil || len(got) != 2 || got[1].State != migrator.Failed || got[1].Err != nil {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := m.Rollback(t.Context(), "0001", migrator.Only(migrator.Selection{IDs: list[:1]})); err != nil {
		t.Fatal(err)
	}
	got, err = other.RunResults(t.Context(), 3)
	if err != nil || len(got) != 1 || got[0].State != migrator.Current || !slices.Equal(got[0].RolledBack, []string{"0002"}) || len(got[0].Applied) != 0 {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestSharedStatusSaysWhatTheSharedTablesHave.
func TestSharedStatusSaysWhatTheSharedTablesHave(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	db, list := open(t, dsn, plugin.BySchema()), tenants(t, "acme")
	with := func(shared ...*gormigrate.Migration) *migrator.Migrator {
		return migrator.New(db, list, two, migrator.WithShared(shared))
	}
	plans, prices, offers := text("s2", "create table plans ()"), text("s1", "create table prices ()"), text("s3", "create table offers ()")
	mustBe := func(m *migrator.Migrator, applied, pending, unknown string) {
		t.Helper()
		s, err := m.SharedStatus(t.Context())
		if got := [3]string{strings.Join(s.Applied, " "), strings.Join(s.Pending, " "), strings.Join(s.Unknown, " ")}; err != nil || got != [3]string{applied, pending, unknown} {
			t.Errorf("got %+v, %v", s, err)
		}
	}
	mustBe(migrator.New(db, list, two), "", "", "")
	mustBe(with(plans, prices), "", "s2 s1", "")
	if _, err := with(plans, prices).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustBe(with(plans, prices, offers), "s2 s1", "s3", "")
	mustBe(with(prices), "s1", "", "s2")
	mustBe(migrator.New(db, list, two), "", "", "")
}
