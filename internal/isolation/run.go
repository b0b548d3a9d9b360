package isolation

import (
	"context"
	"errors"
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

// Config says what to run. All fields are required up to Statements.
type Config struct {
	DB         *gorm.DB // under test; statements carry their tenant by scope.With
	Places     []Place  // one for each tenant, filled
	Goroutines int
	Statements int64 // run until so many were sent

	// A random backend of AppName, in whatever database, is terminated so often
	// on each server. 0 kills none.
	KillEvery time.Duration
	Killers   []*pgxpool.Pool // a direct pool for each server
	AppName   string          // application_name of the connections under test, of no others on these servers

	// Restarts returns how often the pooler in between has ended by itself and was started
	// again, which ends operations and refuses connections for a moment. Nil where there is none.
	Restarts func() int

	// Meanwhile runs next to the workers if it is not nil. Its context ends when
	// they are through. Any error but that end of its context is one of the
	// Result, also one that a killed backend explains.
	Meanwhile func(context.Context) error
}

// Result is what was seen.
type Result struct {
	Statements int64    // sent
	Leaks      []string // another tenant's or the shared rows that showed, at most maxNoted
	Errors     []string // that neither a killed backend, an ended context nor a restart explains, at most maxNoted
	Killed     int64    // operations that a killed backend has ended
	Ended      int64    // operations that their context has ended
	Kills      int64    // backends terminated
	Refused    int64    // operations that came while the pooler was being started again
}

// String returns the figures in one line.
func (r Result) String() string {
	line := fmt.Sprintf("%d statements, %d leaks, %d errors; %d backends killed, which ended %d operations; %d ended by their context",
		r.Statements, len(r.Leaks), len(r.Errors), r.Kills, r.Killed, r.Ended)
	if r.Refused > 0 {
		line += fmt.Sprintf("; %d refused by a pooler that was being started again", r.Refused)
	}
	return line
}

// maxNoted bounds what is kept of what goes wrong.
const maxNoted = 1000

// run is one run under way.
type run struct {
	Config
	homes                                     []*home
	statements, killed, ended, kills, refused atomic.Int64

	mu     sync.Mutex // guards what follows, and what homes have written
	leaks  []string
	errors []string
}

// Run works until enough statements were sent, and then counts every tenant's
// rows from outside.
func Run(t testing.TB, cfg Config) Result {
	t.Helper()
	r := &run{Config: cfg, homes: homes(t, cfg.Places)}
	ctx, cancel := context.WithCancel(context.Background())
	var workers, others sync.WaitGroup
	for i := range cfg.Goroutines {
		workers.Go(func() { r.work(ctx, rand.New(rand.NewPCG(uint64(i), 1))) })
	}
	if cfg.KillEvery > 0 {
		for _, server := range cfg.Killers {
			others.Go(func() { r.kill(ctx, server) })
		}
	}
	if cfg.Meanwhile != nil {
		others.Go(func() { r.meanwhile(ctx) })
	}
	workers.Wait()
	cancel()
	others.Wait()
	if refused := r.refused.Load(); refused > 0 && r.Restarts() == 0 {
		r.unexplained("%d operations were refused by a pooler that has not ended", refused)
	}
	r.audit(t)
	return Result{
		Statements: r.statements.Load(), Leaks: r.leaks, Errors: r.errors,
		Killed: r.killed.Load(), Ended: r.ended.Load(), Kills: r.kills.Load(), Refused: r.refused.Load(),
	}
}

// work does random operations for random tenants.
func (r *run) work(ctx context.Context, random *rand.Rand) {
	for r.statements.Load() < r.Statements {
		w := &worker{run: r, home: r.homes[random.IntN(len(r.homes))], random: random}
		w.ctx = scope.With(ctx, w.Tenant)
		end := func() {}
		if random.IntN(20) == 0 { // some contexts end in the middle
			w.ctx, end = context.WithTimeout(w.ctx, time.Duration(random.IntN(3000))*time.Microsecond)
		}
		r.note(w, operations[random.IntN(len(operations))](w))
		end()
	}
}

// kill terminates random backends of one server from outside. pg_stat_activity
// shows those of every database.
func (r *run) kill(ctx context.Context, server *pgxpool.Pool) {
	tick := time.NewTicker(r.KillEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		tag, err := server.Exec(ctx, `select pg_terminate_backend(pid) from pg_stat_activity
			where application_name = $1 and pid <> pg_backend_pid() order by random() limit 1`, r.AppName)
		if err == nil {
			r.kills.Add(tag.RowsAffected())
		}
	}
}

func (r *run) meanwhile(ctx context.Context) {
	err := r.Meanwhile(ctx)
	if err != nil && (ctx.Err() == nil || !errors.Is(err, ctx.Err())) {
		r.unexplained("meanwhile: %v", err)
	}
}

// audit counts each tenant's rows on a connection of its own.
func (r *run) audit(t testing.TB) {
	t.Helper()
	for _, h := range r.homes {
		own, foreign, err := h.count()
		if err != nil {
			t.Fatal(err)
		}
		if foreign > 0 {
			r.leak("%d foreign rows lie in the place of %s", foreign, h.Tenant)
		}
		if l := h.written; own < l.sure+seedRows || own > l.sure+seedRows+l.unsure {
			r.leak("%s has %d rows, want %d and up to %d more", h.Tenant, own, l.sure+seedRows, l.unsure)
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

func (r *run) unexplained(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.errors) < maxNoted {
		r.errors = append(r.errors, fmt.Sprintf(format, args...))
	}
}
