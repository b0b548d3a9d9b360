package isolation

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/scope"
)

// Config says what to run. All fields are required but KillEvery.
type Config struct {
	DB         *gorm.DB       // under test; statements carry their tenant by scope.With
	Admin      *pgxpool.Pool  // a direct connection that sees every schema
	Tenants    []scope.Tenant // made by Setup
	Goroutines int
	Statements int64         // run until so many were sent
	KillEvery  time.Duration // a random backend of AppName is terminated so often; 0 kills none
	AppName    string        // application_name of the connections under test
}

// Result is what was seen.
type Result struct {
	Statements int64    // sent
	Leaks      []string // another tenant's or the shared rows that showed, at most maxNoted
	Errors     []string // that neither a killed backend nor an ended context explains, at most maxNoted
	Killed     int64    // operations that a killed backend has ended
	Ended      int64    // operations that their context has ended
	Kills      int64    // backends terminated
}

// String returns the figures in one line.
func (r Result) String() string {
	return fmt.Sprintf("%d statements, %d leaks, %d errors; %d backends killed, which ended %d operations; %d ended by their context",
		r.Statements, len(r.Leaks), len(r.Errors), r.Kills, r.Killed, r.Ended)
}

// maxNoted bounds what is kept of what goes wrong.
const maxNoted = 1000

// run is one run under way.
type run struct {
	Config
	statements, killed, ended, kills atomic.Int64

	mu      sync.Mutex // guards what follows
	leaks   []string
	errors  []string
	written map[scope.Tenant]*ledger
}

// ledger counts a tenant's rows: those that were surely committed, and those of
// which a killed connection left it open.
type ledger struct{ sure, unsure int64 }

// Run works until enough statements were sent, and then counts every tenant's
// rows from outside.
func Run(t testing.TB, cfg Config) Result {
	t.Helper()
	r := &run{Config: cfg, written: make(map[scope.Tenant]*ledger)}
	for _, tenant := range cfg.Tenants {
		r.written[tenant] = &ledger{}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var workers, killer sync.WaitGroup
	for i := range cfg.Goroutines {
		workers.Go(func() { r.work(ctx, rand.New(rand.NewPCG(uint64(i), 1))) })
	}
	if cfg.KillEvery > 0 {
		killer.Go(func() { r.kill(ctx) })
	}
	workers.Wait()
	cancel()
	killer.Wait()
	r.audit(t)
	return Result{
		Statements: r.statements.Load(), Leaks: r.leaks, Errors: r.errors,
		Killed: r.killed.Load(), Ended: r.ended.Load(), Kills: r.kills.Load(),
	}
}

// work does random operations for random tenants.
func (r *run) work(ctx context.Context, random *rand.Rand) {
	for r.statements.Load() < r.Statements {
		tenant := r.Tenants[random.IntN(len(r.Tenants))]
		w := &worker{run: r, tenant: tenant, random: random}
		w.ctx = scope.With(ctx, tenant)
		end := func() {}
		if random.IntN(20) == 0 { // some contexts end in the middle
			w.ctx, end = context.WithTimeout(w.ctx, time.Duration(random.IntN(3000))*time.Microsecond)
		}
		r.note(w, operations[random.IntN(len(operations))](w))
		end()
	}
}

// kill terminates random backends from outside.
func (r *run) kill(ctx context.Context) {
	tick := time.NewTicker(r.KillEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		tag, err := r.Admin.Exec(ctx, `select pg_terminate_backend(pid) from pg_stat_activity
			where application_name = $1 and pid <> pg_backend_pid() order by random() limit 1`, r.AppName)
		if err == nil {
			r.kills.Add(tag.RowsAffected())
		}
	}
}

// audit counts each tenant's rows on a connection of its own.
func (r *run) audit(t testing.TB) {
	t.Helper()
	for tenant, l := range r.written {
		var own, foreign int64
		err := r.Admin.QueryRow(context.Background(), fmt.Sprintf(
			`select count(*) filter (where tenant = $1), count(*) filter (where tenant <> $1) from %s.entries`, Schema(tenant)), tenant.String()).Scan(&own, &foreign)
		if err != nil {
			t.Fatal(err)
		}
		if foreign > 0 {
			r.leak("%d foreign rows lie in the schema of %s", foreign, tenant)
		}
		if own < l.sure+seedRows || own > l.sure+seedRows+l.unsure {
			r.leak("%s has %d rows, want %d and up to %d more", tenant, own, l.sure+seedRows, l.unsure)
		}
	}
}

func (r *run) leak(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.leaks) < maxNoted {
		r.leaks = append(r.leaks, fmt.Sprintf(format, args...))
	}
}
