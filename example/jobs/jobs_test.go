package main

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/rivertype"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/scope"
)

func Example() {
	if err := program(context.Background(), os.Stdout); err != nil {
		fmt.Println(err)
	}
	// Output:
	// acme has [{ID:1 Title:An invoice of acme Sent:true}]
	// globex has [{ID:1 Title:An invoice of globex Sent:true}]
	// a job without a tenant: tenantry: inject: tenantry: no tenant in context
}

// start returns a service with customers acme and globex, and the scope of each.
func start(t *testing.T) (s *service, acme, globex context.Context) {
	t.Helper()
	s, err := open(t.Context(), pgtest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	signUp := func(id string) context.Context {
		tenant, err := s.tenants.Create(t.Context(), catalog.New{ID: id})
		if err != nil {
			t.Fatal(err)
		}
		return scope.With(t.Context(), tenant.ID)
	}
	return s, signUp("acme"), signUp("globex")
}

// events returns what happens to jobs from now on.
func (s *service) events(t *testing.T) <-chan *river.Event {
	events, cancel := s.jobs.Subscribe(river.EventKindJobCompleted, river.EventKindJobCancelled, river.EventKindJobFailed)
	t.Cleanup(cancel)
	return events
}

func next(t *testing.T, events <-chan *river.Event) *rivertype.JobRow {
	t.Helper()
	select {
	case e := <-events:
		return e.Job
	case <-time.After(time.Minute):
		t.Fatal("no job was worked")
		return nil
	}
}

// must fails t at the first error.
func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// sent returns the ids of a tenant's invoices that are sent.
func (s *service) sent(t *testing.T, ctx context.Context) string {
	t.Helper()
	var ids []int64
	must(t, s.db.WithContext(ctx).Model(&Invoice{}).Where("sent").Order("id").Pluck("id", &ids).Error)
	return fmt.Sprint(ids)
}

func TestEachJobRunsForItsTenant(t *testing.T) {
	t.Parallel()
	s, acme, globex := start(t)
	events := s.events(t)
	add := func(ctx context.Context, id int64, job bool) error {
		return s.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
			err := tx.Create(&Invoice{ID: id}).Error
			if err == nil && job {
				err = s.insert(tx, sendInvoice{InvoiceID: id})
			}
			return err
		})
	}
	for id := range int64(20) { // both have the same ids
		must(t, add(acme, id+1, id%2 == 0), add(globex, id+1, id%2 == 1))
	}
	for range 20 {
		if job := next(t, events); job.State != rivertype.JobStateCompleted {
			t.Errorf("job %d is %s: %v", job.ID, job.State, job.Errors)
		}
	}
	if got := s.sent(t, acme); got != "[1 3 5 7 9 11 13 15 17 19]" {
		t.Errorf("acme has sent %s", got)
	}
	if got := s.sent(t, globex); got != "[2 4 6 8 10 12 14 16 18 20]" {
		t.Errorf("globex has sent %s", got)
	}
}

// TestAJobThatNobodyMayRun has jobs that another program has put into the queue.
func TestAJobThatNobodyMayRun(t *testing.T) {
	t.Parallel()
	s, acme, globex := start(t)
	for _, ctx := range []context.Context{acme, globex} {
		must(t, s.db.WithContext(ctx).Create(&Invoice{}).Error)
	}
	tenant, err := scope.From(globex)
	must(t, err, s.tenants.Suspend(t.Context(), tenant))
	other, err := river.NewClient(riverdatabasesql.New(sqlDB(t, s)), &river.Config{Schema: riverSchema})
	must(t, err)
	events := s.events(t)
	for metadata, want := range map[string]struct {
		state rivertype.JobState
		words string
	}{
		`{}`:                                 {rivertype.JobStateCancelled, "no tenant in context"},
		`{"tenant": "acme"}`:                 {rivertype.JobStateCancelled, "no tenant in context"},
		`{"Tenantry-Tenant": 7}`:             {rivertype.JobStateCancelled, "no tenant in context"},
		`{"Tenantry-Tenant": "ACME"}`:        {rivertype.JobStateCancelled, "invalid tenant id"},
		`{"Tenantry-Tenant": "nobody"}`:      {rivertype.JobStateDiscarded, `jobs: tenant "nobody": catalog: unknown`},
		`{"Tenantry-Tenant": "globex"}`:      {rivertype.JobStateDiscarded, `jobs: tenant "globex": catalog: the tenant is suspended`},
		`{"Tenantry-Tenant": "_shared"}`:     {rivertype.JobStateDiscarded, `"invoices" does not exist`},
		`{"Tenantry-Tenant": "acme", "": 1}`: {rivertype.JobStateCompleted, ""}, // the others would have run
	} {
		before := s.sent(t, acme)
		_, err := other.Insert(t.Context(), sendInvoice{InvoiceID: 1}, &river.InsertOpts{MaxAttempts: 1, Metadata: []byte(metadata)})
		must(t, err)
		job := next(t, events)
		if job.State != want.state || want.words != "" && (len(job.Errors) != 1 || !strings.Contains(job.Errors[0].Error, want.words)) {
			t.Errorf("%s: the job is %s: %v", metadata, job.State, job.Errors)
		}
		if want.state != rivertype.JobStateCompleted && s.sent(t, acme) != before {
			t.Errorf("%s: it ran for acme", metadata)
		}
	}
	must(t, s.tenants.Resume(t.Context(), tenant))
	if got := s.sent(t, globex) + s.sent(t, acme); got != "[][1]" {
		t.Errorf("sent: %s", got)
	}
	jobs, err := s.jobs.JobList(t.Context(), river.NewJobListParams().Metadata(`{"Tenantry-Tenant": "globex"}`))
	must(t, err)
	_, err = s.jobs.JobRetry(t.Context(), jobs.Jobs[0].ID)
	must(t, err)
	if job := next(t, events); job.State != rivertype.JobStateCompleted || s.sent(t, globex) != "[1]" {
		t.Errorf("after the tenant was resumed its job is %s: %v", job.State, job.Errors)
	}
}

// sqlDB is a pool without tenants.
func sqlDB(t *testing.T, s *service) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", s.pool.Config().ConnString())
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	return db
}

func TestWhatIsNotInserted(t *testing.T) {
	t.Parallel()
	s, acme, globex := start(t)
	rollBack := errors.New("rolled back")
	err := s.db.WithContext(acme).Transaction(func(tx *gorm.DB) error {
		must(t, tx.Create(&Invoice{}).Error, s.insert(tx, sendInvoice{InvoiceID: 1}))
		return rollBack
	})
	if !errors.Is(err, rollBack) {
		t.Error(err)
	}
	err = s.db.WithContext(acme).Transaction(func(tx *gorm.DB) error {
		return s.insert(tx.WithContext(globex), sendInvoice{InvoiceID: 1})
	})
	if mismatch := (*scope.MismatchError)(nil); !errors.As(err, &mismatch) {
		t.Errorf("globex's job in acme's transaction: %v", err)
	}
	if err := s.insert(s.db.WithContext(acme), sendInvoice{}); err == nil {
		t.Error("outside of a transaction: no error")
	}
	if _, err := s.jobs.Insert(t.Context(), sendInvoice{}, nil); !errors.Is(err, scope.ErrNone) {
		t.Errorf("without a tenant: %v", err)
	}
	jobs, err := s.jobs.JobList(t.Context(), river.NewJobListParams())
	if err != nil || len(jobs.Jobs) > 0 {
		t.Errorf("there are %d jobs, %v", len(jobs.Jobs), err)
	}
}

func TestATenantWithADatabaseOfItsOwn(t *testing.T) {
	t.Setenv(catalog.DefaultKeysVariable, "test:"+base64.StdEncoding.EncodeToString(make([]byte, 32)))
	s, _, _ := start(t)
	tenant, err := s.tenants.Create(t.Context(), catalog.New{ID: "big", Kind: catalog.OwnDatabase})
	must(t, err)
	big, events := scope.With(t.Context(), tenant.ID), s.events(t)
	if err := s.issue(big, "in one transaction"); err == nil || !strings.Contains(err.Error(), `"river.river_job" does not exist`) {
		t.Errorf("a job in a database without river: %v", err)
	}
	invoice := Invoice{Title: "job after commit"}
	must(t, s.db.WithContext(big).Create(&invoice).Error)
	_, err = s.jobs.Insert(big, sendInvoice{InvoiceID: invoice.ID}, nil)
	must(t, err)
	if job := next(t, events); job.State != rivertype.JobStateCompleted || s.sent(t, big) != fmt.Sprint([]int64{invoice.ID}) {
		t.Errorf("the job is %s: %v", job.State, job.Errors)
	}
	must(t, s.tenants.Drop(t.Context(), tenant.ID, "big"))
}

func TestAUniqueJobIsSoForItsTenant(t *testing.T) {
	t.Parallel()
	s, acme, globex := start(t)
	for i, ctx := range []context.Context{acme, globex, acme} {
		tenant, err := scope.From(ctx)
		must(t, err)
		want := fmt.Sprintf(`{"by": ["ann"], "Tenantry-Tenant": %q}`, tenant)
		job, err := s.jobs.Insert(ctx, sendInvoice{InvoiceID: 1}, &river.InsertOpts{
			ScheduledAt: time.Now().Add(time.Hour), UniqueOpts: river.UniqueOpts{ByArgs: true},
			Metadata: []byte(`{"by": ["ann"], "Tenantry-Tenant": "nobody"}`)})
		must(t, err)
		if job.UniqueSkippedAsDuplicate != (i == 2) || string(job.Job.Metadata) != want {
			t.Errorf("job %d: duplicate: %v, metadata %s", i, job.UniqueSkippedAsDuplicate, job.Job.Metadata)
		}
	}
}

// TestAPeriodicJobIsOfTheScopeThatTheClientStartsUnder holds docs/jobs.md to its word.
func TestAPeriodicJobIsOfTheScopeThatTheClientStartsUnder(t *testing.T) {
	t.Parallel()
	s, _, _ := start(t)
	must(t, s.jobs.Stop(t.Context()))
	ran := make(chan bool, 1)
	workers := river.NewWorkers()
	river.AddWorker(workers, river.WorkFunc(func(ctx context.Context, _ *river.Job[sendInvoice]) error {
		ran <- scope.IsShared(ctx)
		return nil
	}))
	always := river.PeriodicInterval(time.Hour)
	nightly := func() (river.JobArgs, *river.InsertOpts) { return sendInvoice{}, nil }
	client, err := river.NewClient(riverdatabasesql.New(sqlDB(t, s)), &river.Config{
		Schema:       riverSchema,
		Middleware:   []rivertype.Middleware{&tenancy{tenants: s.tenants}},
		Queues:       map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 1}},
		Workers:      workers,
		PeriodicJobs: []*river.PeriodicJob{river.NewPeriodicJob(always, nightly, &river.PeriodicJobOpts{RunOnStart: true})},
	})
	must(t, err, client.Start(scope.Shared(context.WithoutCancel(t.Context()))))
	defer func() { must(t, client.Stop(context.WithoutCancel(t.Context()))) }()
	select {
	case shared := <-ran:
		if !shared {
			t.Error("the job does not run under scope.Shared")
		}
	case <-time.After(time.Minute):
		t.Error("the job was not inserted")
	}
}
