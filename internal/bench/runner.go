package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// runner is one run of the program.
type runner struct {
	config
	stdout    io.Writer
	progress  *progress
	host      *host
	processes *processes
	all       []tenant
	results   []result
	trips     map[time.Duration]time.Duration // how long an empty query takes, by delay
}

// start starts the server and makes the tenants.
func (r *runner) start(ctx context.Context) (err error) {
	r.host, err = startHost(ctx, r.maxConnections, func(line string) { r.progress.tell("%s", line) })
	if err != nil {
		return err
	}
	r.processes = newProcesses(r.host)
	if r.all, err = newTenants(r.host.run, slices.Max(r.tenants)); err != nil {
		return err
	}
	if err := r.header(ctx); err != nil {
		return err
	}
	begin := time.Now()
	if err := r.makeTenants(ctx); err != nil {
		return err
	}
	r.progress.tell("made %d tenants in %s", len(r.all), time.Since(begin).Round(time.Millisecond))
	return nil
}

// makeTenants makes what will be needed: a long run has schemas alone.
func (r *runner) makeTenants(ctx context.Context) error {
	if r.memory {
		return r.host.makeSchemas(ctx, r.all, r.progress)
	}
	return r.host.setup(ctx, r.all, r.databases, r.progress)
}

func (r *runner) stop() error {
	if r.host == nil {
		return nil
	}
	r.progress.tell("stopping the server and removing its files")
	return r.host.stop()
}

// site returns where a pattern finds n tenants, over l.
func (r *runner) site(k kind, n int, l *line) site {
	if k.databases {
		n = min(n, r.databases)
	}
	return site{
		server:    l.server,
		database:  r.host.run,
		app:       appPrefix + k.name,
		role:      r.host.role(),
		password:  r.host.password,
		tenants:   r.all[:n],
		conns:     r.conns,
		spare:     r.maxConnections - r.connections(),
		databases: r.databases,
		tuning:    r.tuning,
	}
}

// cell is one point of the comparison.
type cell struct {
	delay    time.Duration
	tenants  int
	workers  int
	workload workload
}

func (c cell) String() string {
	return fmt.Sprintf("%s (%s), %d tenants, %s round trip, %d workers", c.workload.name, c.workload.title, c.tenants, c.delay, c.workers)
}

// comparePatterns measures all cells, and writes what there is in the end, whatever has
// ended it.
func (r *runner) comparePatterns(ctx context.Context) error {
	err := r.cells(ctx)
	if total := r.cellCount(); len(r.results) < total {
		r.progress.tell("left out: %d of %d cells", total-len(r.results), total)
		_, _ = fmt.Fprintf(r.stdout, "\nLeft out: %d of %d cells. The last one is: %s\n", total-len(r.results), total, r.lastCell())
	}
	return errors.Join(err, r.writeResults())
}

func (r *runner) lastCell() string {
	if len(r.results) == 0 {
		return "none"
	}
	return r.results[len(r.results)-1].cell.String()
}

func (r *runner) cellCount() int {
	each := len(r.tenants) * len(r.workers) * len(r.workloads)
	for _, n := range r.tenants {
		if r.cold(n) {
			each += len(coldReads())
		}
	}
	return len(r.delays) * each
}

func (r *runner) cells(ctx context.Context) error {
	return r.overLines(ctx, func(ctx context.Context, l *line, delay time.Duration) error {
		for _, n := range r.tenants {
			if err := r.withTenants(ctx, l, delay, n); err != nil {
				return err
			}
		}
		return nil
	})
}

// overLines measures over a line of each delay in turn.
func (r *runner) overLines(ctx context.Context, measure func(context.Context, *line, time.Duration) error) error {
	r.trips = map[time.Duration]time.Duration{}
	for _, delay := range r.delays {
		if err := r.overLine(ctx, delay, measure); err != nil {
			return err
		}
	}
	return nil
}

func (r *runner) overLine(ctx context.Context, delay time.Duration, measure func(context.Context, *line, time.Duration) error) (err error) {
	l, err := openLine(ctx, r.host.server.DSN(), delay)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	if r.trips[delay], err = l.roundTrip(ctx); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(r.stdout, "\nround trip %s: an empty query takes %s\n", delay, r.trips[delay].Round(time.Microsecond))
	return measure(ctx, l, delay)
}

// withTenants measures cold reads, and then opens all patterns for n tenants and measures them.
func (r *runner) withTenants(ctx context.Context, l *line, delay time.Duration, n int) (err error) {
	if r.cold(n) {
		if err := r.measureCold(ctx, l, delay, n); err != nil {
			return err
		}
	}
	field, err := r.open(ctx, l, n)
	defer func() { err = errors.Join(err, field.close()) }()
	if err != nil {
		return err
	}
	for _, workers := range r.workers {
		for _, w := range r.workloads {
			c := cell{delay: delay, tenants: n, workers: workers, workload: w}
			r.progress.say("cell %d of %d: %s", len(r.results)+1, r.cellCount(), c)
			samples, err := r.measureRounds(ctx, field, c)
			if err != nil {
				return err
			}
			r.results = append(r.results, newResult(c, field, samples, metrics()))
			if err := r.print(r.results[len(r.results)-1]); err != nil {
				return err
			}
		}
	}
	return nil
}

// measureRounds measures all patterns in turn, as many times as the flags say. Before that
// each does what opens its connections and makes them acquainted with the tenants.
func (r *runner) measureRounds(ctx context.Context, f *field, c cell) ([][]sample, error) {
	samples := make([][]sample, len(f.runners))
	for round := -1; round < r.rounds; round++ {
		for i := range f.runners {
			i = (i + max(0, round)) % len(f.runners)
			j := job{competitor: f.runners[i], work: c.workload, workers: c.workers, seed: uint64(round + 1), slice: r.slice}
			if round < 0 {
				j = j.warmUp(r.warm)
			}
			s, err := j.measure(ctx, r.processes)
			if err != nil {
				return nil, err
			}
			if round >= 0 {
				samples[i] = append(samples[i], s)
			}
		}
	}
	return samples, nil
}

// warmUp returns the job that comes before j: so many units for each tenant, and one for each
// worker at least. No tenant is drawn then, or the rare ones would stay cold.
func (j job) warmUp(units int) job {
	j.work.zipf = false
	j.units = max(1, units*len(j.tenants)/j.workers)
	return j
}
