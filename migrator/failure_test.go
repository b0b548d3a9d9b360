package migrator_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// unique ends with what the data of a tenant may violate, and goes on behind it.
var unique = append(slices.Clone(two),
	text("0003", "create table halfway (id int)"),
	text("0004", "create unique index invoices_title on invoices (title)"),
	text("0005", "create table further (id int)"),
)

// shapeOf is all that a migration changes: the columns and indexes of a schema, and
// what its tracking table says.
func shapeOf(t *testing.T, pool *pgxpool.Pool, schema string) string {
	t.Helper()
	return ask[string](t, pool, `select string_agg(what, ', ' order by what) from (
		select format('%s.%s', table_name, column_name) from information_schema.columns where table_schema = $1
		union all select 'index ' || indexname from pg_indexes where schemaname = $1
	) o (what)`, schema) + "; " + ask[string](t, pool, "select string_agg(id, ' ' order by id) from "+schema+".migrations")
}

// TestDataThatViolatesAMigrationFailsItsTenantAlone: the tenant is as it was, and
// says why in PostgreSQL's own words, also to those who did not migrate it.
func TestDataThatViolatesAMigrationFailsItsTenantAlone(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	db, pool := open(t, dsn, plugin.BySchema()), admin(t, dsn)
	list := many(t, 12)
	if _, err := migrator.New(db, list, two).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	bad := list[7]
	if _, err := pool.Exec(t.Context(), "insert into tenant_t07.invoices (title) values ('rent'), ('rent')"); err != nil {
		t.Fatal(err)
	}
	before := shapeOf(t, pool, "tenant_t07")
	var seen []migrator.Event
	m := migrator.New(db, list, unique, migrator.WithProgress(func(e migrator.Event) {
		if e.Kind == migrator.EventFailed {
			seen = append(seen, e)
		}
	}))

	report, err := m.Run(t.Context())
	var runErr *migrator.RunError
	if !errors.As(err, &runErr) || runErr.Done != 11 || runErr.Failed != 1 || runErr.Pending != 0 {
		t.Errorf("got error %v", err)
	}
	checkDuplicate(t, err)
	if len(seen) != 1 || seen[0].Tenant != bad {
		t.Errorf("got the events %+v", seen)
	} else {
		checkDuplicate(t, seen[0].Err)
	}
	for _, r := range report.Results {
		if r.Tenant != bad {
			checkApplied(t, migrator.Report{Results: []migrator.Result{r}}, migrator.List{r.Tenant}, "0003", "0004", "0005")
			continue
		}
		if r.State != migrator.Failed || len(r.Applied) > 0 || r.Attempts != 1 {
			t.Errorf("got %+v", r)
		}
		checkDuplicate(t, r.Err)
	}
	if after := shapeOf(t, pool, "tenant_t07"); after != before {
		t.Errorf("the tenant has changed from %s to %s", before, after)
	}
	checkFailureIsKept(t, dsn, list, bad)

	// The retry does not help as long as the data is as it is.
	failed := migrator.Only(migrator.Selection{States: []migrator.State{migrator.Failed}})
	report, err = m.Run(t.Context(), failed)
	checkDuplicate(t, err)
	if len(report.Results) != 1 || shapeOf(t, pool, "tenant_t07") != before {
		t.Errorf("the retry had the results %+v", report.Results)
	}
	if list, err := m.Status(t.Context(), migrator.Selection{IDs: []scope.Tenant{bad}}); err != nil || list[0].Attempts != 2 {
		t.Errorf("after the second failure, the ledger says %+v, %v", list, err)
	}
	if _, err := pool.Exec(t.Context(), "update tenant_t07.invoices set title = title || id"); err != nil {
		t.Fatal(err)
	}
	report, err = m.Run(t.Context(), failed)
	if err != nil {
		t.Fatal(err)
	}
	checkApplied(t, report, migrator.List{bad}, "0003", "0004", "0005")
	checkAllCurrent(t, m, len(list))
	if got, want := shapeOf(t, pool, "tenant_t07"), shapeOf(t, pool, "tenant_t08"); got != want {
		t.Errorf("it has %s, and others %s", got, want)
	}
}

// checkDuplicate checks that err is PostgreSQL's, of the migration.
func checkDuplicate(t *testing.T, err error) {
	t.Helper()
	var tenantErr *scope.TenantError
	var pgErr *pgconn.PgError
	if !errors.As(err, &tenantErr) || tenantErr.Tenant.String() != "t07" || !errors.As(err, &pgErr) {
		t.Errorf("the error is not PostgreSQL's about the tenant: %v", err)
		return
	}
	if pgErr.Code != "23505" || pgErr.Message != `could not create unique index "invoices_title"` || pgErr.Detail != "Key (title)=(rent) is duplicated." {
		t.Errorf("got %+v", pgErr)
	}
	for _, words := range []string{`"t07"`, `"0004"`, pgErr.Message} {
		if !strings.Contains(err.Error(), words) {
			t.Errorf("the error %q does not name %s", err, words)
		}
	}
}

// checkFailureIsKept checks what other processes are told: by the ledger, and by a
// run that they only share.
func checkFailureIsKept(t *testing.T, dsn string, list migrator.List, bad scope.Tenant) {
	t.Helper()
	m := migrator.New(open(t, dsn, plugin.BySchema()), list, unique)
	statuses, err := m.Status(t.Context(), migrator.Selection{States: []migrator.State{migrator.Failed}})
	if err != nil || len(statuses) != 1 {
		t.Fatalf("the failed ones are %+v, %v", statuses, err)
	}
	s := statuses[0]
	if s.Tenant.ID != bad || s.Last != "0002" || s.Attempts != 1 || !slices.Equal(s.Pending, []string{"0003", "0004", "0005"}) {
		t.Errorf("got %+v", s)
	}
	f := s.Failure
	if f == nil || f.Code != "23505" || f.Detail != "Key (title)=(rent) is duplicated." || f.Migration != "0004" || !strings.Contains(f.Message, `could not create unique index "invoices_title"`) {
		t.Errorf("got the failure %+v", f)
	}
	runs, err := m.Runs(t.Context(), 1)
	if err != nil || runs[0].State != migrator.RunFailed || runs[0].Done != 11 || runs[0].Failed != 1 || runs[0].Tenants != 12 {
		t.Errorf("got the runs %+v, %v", runs, err)
	}
}

func checkAllCurrent(t *testing.T, m *migrator.Migrator, n int) {
	t.Helper()
	list, err := m.Status(t.Context(), migrator.Selection{})
	if err != nil || len(list) != n {
		t.Fatalf("the status of %d tenants: %v", len(list), err)
	}
	for _, s := range list {
		if s.State != migrator.Current || len(s.Pending) > 0 || s.Failure != nil || s.Attempts != 0 {
			t.Errorf("got %+v", s)
		}
	}
	found, err := m.Verify(t.Context(), migrator.Selection{})
	if err != nil || len(found.Mended) > 0 {
		t.Errorf("the ledger was wrong: %+v, %v", found, err)
	}
}

// TestAFailureIsToldToAllProcessesOfTheRun: also those that did not migrate the
// tenant return an error with PostgreSQL's words.
func TestAFailureIsToldToAllProcessesOfTheRun(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	pool := admin(t, dsn)
	list := many(t, 8)
	if _, err := migrator.New(open(t, dsn, plugin.BySchema()), list, two).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), "insert into tenant_t07.invoices (title) values ('rent'), ('rent')"); err != nil {
		t.Fatal(err)
	}
	// Both are in before either may do anything.
	lock, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lock.Rollback(context.Background()) })
	for i := range list {
		if _, err := lock.Exec(t.Context(), fmt.Sprintf("lock table tenant_t%02d.migrations", i)); err != nil {
			t.Fatal(err)
		}
	}
	type end struct {
		report migrator.Report
		err    error
	}
	ends := make(chan end, 2)
	for range 2 {
		m := migrator.New(open(t, dsn, plugin.BySchema()), list, unique, migrator.WithConcurrency(1))
		go func() {
			report, err := m.Run(t.Context())
			ends <- end{report, err}
		}()
	}
	await(t, "both are at work", func() bool {
		return ask[int](t, pool, "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'") == 2
	})
	if err := lock.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	own := 0
	for range 2 {
		e := <-ends
		r := e.report.Results[7]
		var tenantErr *scope.TenantError
		if !errors.As(r.Err, &tenantErr) || r.State != migrator.Failed {
			t.Fatalf("got %+v", r)
		}
		if r.Attempts > 0 {
			own++
			checkDuplicate(t, r.Err)
			continue
		}
		var f *migrator.Failure
		if !errors.As(e.err, &f) || f.Code != "23505" || f.Detail != "Key (title)=(rent) is duplicated." || f.Migration != "0004" || !strings.Contains(r.Err.Error(), `could not create unique index "invoices_title"`) {
			t.Errorf("the other process was told %v", r.Err)
		}
	}
	if own != 1 {
		t.Errorf("%d processes have failed at the tenant, want 1", own)
	}
}

// await waits until f reports true.
func await(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	again := time.NewTicker(2 * time.Millisecond)
	defer again.Stop()
	for !f() {
		select {
		case <-deadline.C:
			t.Fatalf("it did not happen in time: %s", what)
		case <-again.C:
		}
	}
}
