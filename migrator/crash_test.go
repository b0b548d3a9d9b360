//go:build unix

package migrator_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/go-gormigrate/gormigrate/v2"
	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// envWorker, when set, makes this test binary a process that migrates: it holds a
// worker as JSON.
const envWorker = "MIGRATOR_TEST_WORKER"

func TestMain(m *testing.M) {
	if text := os.Getenv(envWorker); text != "" {
		var w worker
		err := json.Unmarshal([]byte(text), &w)
		if err == nil {
			err = w.work()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// worker is what a process does: it brings a fleet to a version.
type worker struct {
	DSN        string
	Tenants    int
	Migrations int
	Pause      time.Duration // of each migration
	Lease      time.Duration
}

// told is what a worker prints when it ends.
type told struct {
	Run      int64
	Current  []string // tenants
	Pending  []string // tenants
	Error    string
	Canceled bool
}

func (w worker) list() migrator.List {
	list := make(migrator.List, w.Tenants)
	for i := range list {
		list[i], _ = scope.Parse(fmt.Sprintf("t%03d", i)) // is valid
	}
	return list
}

// marked returns migrations that count themselves, in the transaction of the
// tenant: in a table without a unique constraint, so that doubles are seen.
func (w worker) marked() (list migrator.Migrations) {
	for i := range w.Migrations {
		id, forth, back := markID(i), fmt.Sprintf("alter table invoices add column c%d int", i), fmt.Sprintf("alter table invoices drop column c%d", i)
		if i == 0 {
			forth, back = "create table invoices (id bigserial primary key)", "drop table invoices"
		}
		list = append(list, &gormigrate.Migration{ID: id, Migrate: func(tx *gorm.DB) error {
			err := errors.Join(tx.Exec(forth).Error, tx.Exec("insert into public.marks values (current_schema(), ?, ?)", id, os.Getpid()).Error)
			if w.Pause > 0 {
				err = errors.Join(err, tx.Exec("select pg_sleep(?)", w.Pause.Seconds()).Error)
			}
			return err
		}, Rollback: func(tx *gorm.DB) error {
			return errors.Join(tx.Exec(back).Error, tx.Exec("delete from public.marks where tenant = current_schema() and id = ?", id).Error)
		}})
	}
	return list
}

func markID(i int) string { return fmt.Sprintf("%04d", i+1) }

// migrator returns the migrator of a process, and how to close it.
func (w worker) migrator() (m *migrator.Migrator, done func() error, err error) {
	db, err := gorm.Open(postgres.Open(w.DSN), &gorm.Config{Logger: logger.Discard})
	if err != nil {
		return nil, nil, err
	}
	p := plugin.New(plugin.BySchema(), plugin.WithMaxConns(6))
	if err := db.Use(p); err != nil {
		return nil, nil, err
	}
	return migrator.New(db, w.list(), w.marked(), migrator.WithLease(w.Lease)), p.Close, nil
}

// work is the whole life of a process, as a program's command would have it.
func (w worker) work() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	m, done, err := w.migrator()
	if err != nil {
		return err
	}
	report, err := m.Run(ctx)
	out := told{Run: report.Run, Canceled: errors.Is(err, context.Canceled)}
	if err != nil {
		out.Error = err.Error()
	}
	for _, r := range report.Results {
		if r.State == migrator.Current {
			out.Current = append(out.Current, r.Tenant.String())
		} else {
			out.Pending = append(out.Pending, r.Tenant.String())
		}
	}
	return errors.Join(err, json.NewEncoder(os.Stdout).Encode(out), done())
}

// process is a worker that was started.
type process struct {
	*exec.Cmd
	out, errs bytes.Buffer
	ended     time.Time
	exited    chan struct{} // closed when it has ended; the fields above may be read then
}

func (w worker) start(t *testing.T) *process {
	t.Helper()
	text, err := json.Marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{Cmd: exec.CommandContext(t.Context(), os.Args[0]), exited: make(chan struct{})}
	p.Env = append(os.Environ(), envWorker+"="+string(text))
	p.Stdout, p.Stderr = &p.out, &p.errs
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.Wait() // the state says it all
		p.ended = time.Now()
		close(p.exited)
	}()
	t.Cleanup(func() { <-p.exited }) // the test's context, which has ended by then, kills it
	return p
}

// mustEnd waits for the process, which must end by itself and well.
func (p *process) mustEnd(t *testing.T, limit time.Duration) {
	t.Helper()
	p.wait(t, limit)
	if !p.ProcessState.Success() {
		t.Fatalf("a process has ended with %s: %s", p.ProcessState, &p.errs)
	}
}

func (p *process) wait(t *testing.T, limit time.Duration) {
	t.Helper()
	select {
	case <-p.exited:
	case <-time.After(limit):
		t.Fatalf("a process has not ended within %s", limit)
	}
}

func (p *process) killed() bool {
	status, ok := p.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// siege is a fleet whose processes are killed, round by round. Each round has one
// migration more.
type siege struct {
	worker
	pool     *pgxpool.Pool
	usual    time.Duration // how long an undisturbed round takes
	lastRun  int64         // before the round
	amid     int           // kills when some tenants had the migration of the round, and others not
	several  int           // rounds in which the work went on as another run
	survived time.Duration // the longest that it took from a kill to the end of the others
}

// patience is how long processes may take beyond the lease and the usual time. Other tests run meanwhile.
const patience = 30 * time.Second

func newSiege(t *testing.T, tenants int) *siege {
	t.Helper()
	s := &siege{worker: worker{DSN: pgtest.Database(t), Tenants: tenants, Migrations: 1, Lease: 700 * time.Millisecond}}
	s.pool = admin(t, s.DSN)
	if _, err := s.pool.Exec(t.Context(), "create table public.marks (tenant text, id text, process int)"); err != nil {
		t.Fatal(err)
	}
	s.undisturbed(t) // makes the schemas, which takes longer
	s.Migrations++
	s.usual = s.undisturbed(t)
	return s
}

// undisturbed is a round in which nobody is killed.
func (s *siege) undisturbed(t *testing.T) time.Duration {
	t.Helper()
	start := time.Now()
	three := s.three(t)
	for _, p := range three {
		p.mustEnd(t, 2*patience)
	}
	took := time.Since(start)
	s.check(t)
	return took
}

func (s *siege) three(t *testing.T) []*process {
	t.Helper()
	var three []*process
	for range 3 {
		three = append(three, s.start(t))
	}
	return three
}

// killOne is a round in which one of the three is killed at a moment.
func (s *siege) killOne(t *testing.T, moment func(*testing.T)) {
	t.Helper()
	s.Migrations++
	three := s.three(t)
	moment(t)
	victim := rand.N(len(three))
	when := s.kill(t, three[victim:victim+1])
	for _, p := range slices.Delete(three, victim, victim+1) {
		p.mustEnd(t, s.Lease+s.usual+patience)
		s.survived = max(s.survived, p.ended.Sub(when))
	}
	s.check(t)
}

// killAll is a round in which all three are killed, and then another process
// begins.
func (s *siege) killAll(t *testing.T) {
	t.Helper()
	s.Migrations++
	three := s.three(t)
	s.inTheMiddle(t)
	s.kill(t, three)
	var dead []int
	for _, p := range three {
		if p.killed() {
			dead = append(dead, p.Process.Pid)
		}
	}
	if s.Migrations%2 == 0 { // otherwise the next one joins the run before its leases have ended
		await(t, "the leases have ended", func() bool {
			return ask[bool](t, s.pool, "select not exists (select from tenantry.workers where until > now())")
		})
	}
	s.start(t).mustEnd(t, s.Lease+s.usual+patience)
	runs := s.check(t)
	if len(runs) > 1 {
		s.undo(t, runs[0], dead)
	}
}

// atAnyTime waits for any moment of a round, the start of the processes included.
func (s *siege) atAnyTime(*testing.T) { <-time.After(rand.N(s.usual)) }

// inTheMiddle waits until any part of the tenants has the migration of the round.
func (s *siege) inTheMiddle(t *testing.T) {
	t.Helper()
	part := 1 + rand.N(s.Tenants-1)
	await(t, "some tenants have the migration", func() bool { return s.done(t) >= part })
}

// done returns how many tenants have the migration of the round.
func (s *siege) done(t *testing.T) int {
	t.Helper()
	return ask[int](t, s.pool, "select count(*) from public.marks where id = $1", markID(s.Migrations-1))
}

// kill kills processes, and returns when.
func (s *siege) kill(t *testing.T, victims []*process) time.Time {
	t.Helper()
	for _, p := range victims {
		if err := p.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Error(err)
		}
	}
	when := time.Now()
	if done := s.done(t); done > 0 && done < s.Tenants {
		s.amid++
	}
	for _, p := range victims {
		p.wait(t, patience)
		if !p.killed() && !p.ProcessState.Success() {
			t.Errorf("the process that was to be killed has ended with %s: %s", p.ProcessState, &p.errs)
		}
	}
	return when
}

// check checks what must hold after each round, and returns its runs.
func (s *siege) check(t *testing.T) (runs []int64) {
	t.Helper()
	m, done, err := s.migrator()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := done(); err != nil {
			t.Error(err)
		}
	}()
	s.checkTruth(t, m)
	runs = s.checkRuns(t, m)
	if t.Failed() {
		t.Fatalf("in the round of migration %s", markID(s.Migrations-1))
	}
	return runs
}

// checkTruth checks that each tenant has each migration once, and that the ledger
// says so.
func (s *siege) checkTruth(t *testing.T, m *migrator.Migrator) {
	t.Helper()
	if n := ask[int](t, s.pool, "select count(*) from (select from public.marks group by tenant, id having count(*) > 1) d"); n > 0 {
		t.Errorf("%d migrations have run more than once", n)
	}
	if n, want := ask[int](t, s.pool, "select count(*) from public.marks"), s.Tenants*s.Migrations; n != want {
		t.Errorf("%d migrations have run in all, want %d", n, want)
	}
	list, err := m.Status(t.Context(), migrator.Selection{})
	if err != nil || len(list) != s.Tenants {
		t.Fatalf("the status of %d tenants: %v", len(list), err)
	}
	for _, st := range list {
		if st.State != migrator.Current || st.Last != markID(s.Migrations-1) || st.Applied != s.Migrations || len(st.Pending) > 0 {
			t.Errorf("the ledger says of a tenant: %+v", st)
		}
	}
	found, err := m.Verify(t.Context(), migrator.Selection{})
	if err != nil || found.Checked != s.Tenants || len(found.Mended) > 0 {
		t.Errorf("the ledger was wrong: %+v, %v", found, err)
	}
}

// checkRuns checks that the runs of the round know who has done what: each tenant
// has the migration by one of them, and nothing else.
func (s *siege) checkRuns(t *testing.T, m *migrator.Migrator) []int64 {
	t.Helper()
	runs := ask[[]int64](t, s.pool, "select coalesce(array_agg(id order by id), '{}') from tenantry.runs where id > $1", s.lastRun)
	list, err := m.Runs(t.Context(), len(runs))
	if err != nil || len(runs) == 0 {
		t.Fatalf("the runs %d: %v", runs, err)
	}
	for i, r := range list {
		want := migrator.RunDone
		if i > 0 {
			want = migrator.RunInterrupted
		}
		if r.State != want {
			t.Errorf("run %d, %d before the last one of the round, is %q: %+v", r.ID, i, r.State, r)
		}
	}
	got := ask[string](t, s.pool, `select count(*) || ' ' || count(distinct tenant) from tenantry.results where run > $1 and applied = jsonb_build_array($2::text)`, s.lastRun, markID(s.Migrations-1))
	other := ask[int](t, s.pool, "select count(*) from tenantry.results where run > $1 and applied not in (jsonb_build_array($2::text), '[]')", s.lastRun, markID(s.Migrations-1))
	if want := fmt.Sprintf("%d %[1]d", s.Tenants); got != want || other > 0 {
		t.Errorf("the runs know of %s tenants, want %s, and of %d with something else", got, want, other)
	}
	if len(runs) > 1 {
		s.several++
	}
	s.lastRun = runs[len(runs)-1]
	return runs
}

// undo undoes what the interrupted run has done: all that its processes have
// committed, and nothing of the run that went on. Then it is done again.
func (s *siege) undo(t *testing.T, run int64, dead []int) {
	t.Helper()
	m, done, err := s.migrator()
	if err != nil {
		t.Fatal(err)
	}
	id := markID(s.Migrations - 1)
	theirs := ask[int](t, s.pool, "select count(*) from public.marks where id = $1 and process = any($2)", id, dead)
	rest := s.Tenants - theirs
	if theirs > 0 {
		if _, err := m.RollbackRun(t.Context(), run); err != nil {
			t.Error(err)
		}
	}
	got := ask[string](t, s.pool, "select count(*) || ' ' || count(*) filter (where process = any($2)) from public.marks where id = $1", id, dead)
	if want := fmt.Sprint(rest, " 0"); got != want {
		t.Errorf("after the rollback of the interrupted run, the migration is with %s tenants, in all and by it; want %s", got, want)
	}
	if _, err := m.Run(t.Context()); err != nil {
		t.Error(err)
	}
	s.checkTruth(t, m)
	s.lastRun = ask[int64](t, s.pool, "select max(id) from tenantry.runs")
	if err := done(); err != nil || t.Failed() {
		t.Fatalf("in the round of migration %s: %v", id, err)
	}
}

func (s *siege) log(t *testing.T, start time.Time) {
	t.Helper()
	t.Logf("%d rounds over %d tenants in %s; undisturbed, one takes %s; %d kills came when some tenants had the migration and others not; at most %s from a kill to the end of the others; %d rounds went on as another run",
		s.Migrations, s.Tenants, time.Since(start).Round(time.Millisecond), s.usual.Round(time.Millisecond), s.amid, s.survived.Round(time.Millisecond), s.several)
}

// TestKilledProcesses kills one of three processes, and then all. There are fifty
// rounds of it over five hundred tenants with the tag integration.
func TestKilledProcesses(t *testing.T) {
	t.Parallel()
	start := time.Now()
	s := newSiege(t, 60)
	s.killOne(t, s.atAnyTime)
	s.killOne(t, s.atAnyTime)
	s.killOne(t, s.inTheMiddle)
	s.killAll(t)
	s.log(t, start)
}

// do runs statements past the migrator.
func do(t *testing.T, pool *pgxpool.Pool, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		if _, err := pool.Exec(context.Background(), sql); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

// TestAKilledProcessDoesNotKeepARunFromEnding: its lease lasts longer than the work
// of the others.
func TestAKilledProcessDoesNotKeepARunFromEnding(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	pool := admin(t, dsn)
	joined := &gormigrate.Migration{ID: "0003", Migrate: func(*gorm.DB) error {
		do(t, pool, "insert into tenantry.workers select 'killed', id, now() + interval '1 hour' from tenantry.runs")
		return nil
	}}
	m := migrator.New(open(t, dsn, plugin.BySchema()), tenants(t, "acme"), append(slices.Clone(two), joined))
	report, err := m.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	runs, err := m.Runs(t.Context(), 1)
	if err != nil || runs[0].ID != report.Run || runs[0].State != migrator.RunDone {
		t.Errorf("got the runs %+v, %v", runs, err)
	}
	do(t, pool, "update tenantry.workers set until = now()")
	if runs, err = m.Runs(t.Context(), 1); err != nil || runs[0].State != migrator.RunDone {
		t.Errorf("when its lease has ended, the runs are %+v, %v", runs, err)
	}
}

// TestARunThatIsStoppedDoesNotWaitForAKilledProcess: what that one had claimed,
// nobody may take over.
func TestARunThatIsStoppedDoesNotWaitForAKilledProcess(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	pool := admin(t, dsn)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	fails := &gormigrate.Migration{ID: "0003", Migrate: func(tx *gorm.DB) error {
		if tenant, err := scope.From(tx.Statement.Context); err != nil || tenant.String() != "t00" {
			return err
		}
		do(t, pool, "insert into tenantry.workers select 'killed', id, now() + interval '1 hour' from tenantry.runs",
			"update tenantry.ledger set state = 'running', worker = 'killed' where tenant = 't19'")
		return errors.New("boom")
	}}
	ended := make(chan struct{})
	go func() { // the lease ends when the run is stopped already
		defer close(ended)
		for ctx.Err() == nil && !ask[bool](t, pool, "select to_regclass('tenantry.ledger') is not null") {
		}
		for ctx.Err() == nil && !ask[bool](t, pool, "select exists (select from tenantry.ledger where state = 'failed')") {
		}
		do(t, pool, "update tenantry.workers set until = now() where id = 'killed'")
	}()
	m := migrator.New(open(t, dsn, plugin.BySchema()), many(t, 20), append(slices.Clone(two), fails), migrator.WithConcurrency(1))
	report, err := m.Run(ctx, migrator.StopAfter(1))
	if !errors.Is(err, migrator.ErrStopped) || ctx.Err() != nil || report.Count(migrator.Failed) != 1 {
		t.Errorf("got %+v, %v", report, err)
	}
	<-ended
	runs, err := m.Runs(t.Context(), 1)
	if err != nil || runs[0].State != migrator.RunStopped {
		t.Errorf("got the runs %+v, %v", runs, err)
	}
}

// TestWhatAKilledProcessHasDoneIsItsRunsAlthoughAnotherRunWaits: the lease ends only
// when the other run waits already.
func TestWhatAKilledProcessHasDoneIsItsRunsAlthoughAnotherRunWaits(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	db, pool := open(t, dsn, plugin.BySchema()), admin(t, dsn)
	list := tenants(t, "acme")
	if _, err := migrator.New(db, list, two).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	do(t, pool,
		"insert into tenantry.runs (spec, title, started_by) values ('{}', 'up', 'a process that was killed')",
		"insert into tenantry.workers select 'killed', max(id), now() + interval '1 hour' from tenantry.runs",
		"update tenantry.ledger set state = 'running', worker = 'killed', run = (select max(id) from tenantry.runs)",
		"insert into tenant_acme.migrations values ('0003')")
	run := ask[int64](t, pool, "select max(id) from tenantry.runs")
	waits := migrator.WithProgress(func(e migrator.Event) {
		if e.Kind == migrator.EventWaiting {
			do(t, pool, "update tenantry.workers set until = now() where id = 'killed'")
		}
	})
	four := append(slices.Clone(two), text("0003", "select 1"), text("0004", "select 1"))
	report, err := migrator.New(db, list, four, waits).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	checkApplied(t, report, list, "0004")
	for run, want := range map[int64]string{run: `["0003"]`, report.Run: `["0004"]`} {
		if got := ask[string](t, pool, "select coalesce(string_agg(applied::text, ' '), 'nothing') from tenantry.results where run = $1", run); got != want {
			t.Errorf("run %d is credited with %s, want %s", run, got, want)
		}
	}
}
