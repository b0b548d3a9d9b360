package migrator_test

import (
	"errors"
	"slices"
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
