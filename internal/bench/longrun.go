package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync/atomic"
	"text/tabwriter"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/plugin"
)

// parts is how many a long run is measured in: the two runs take turns, and memory is read
// after each part.
const parts = 100

// longRun is the mix over all tenants for many statements.
type longRun struct {
	name       string
	competitor *competitor
	opened     atomic.Int64 // backends
	samples    []sample     // one for each part
}

// compareMemory makes two long runs at once: with the library as the flags say, and with
// connections that serve whoever comes, for ever.
func (r *runner) compareMemory(ctx context.Context) (err error) {
	runs := []*longRun{{name: "as the flags say"}, {name: "connections for anybody, for ever"}}
	defer func() { err = errors.Join(err, closeRuns(runs)) }()
	for i, t := range []tuning{r.tuning, {hot: r.tuning.hot, tenantsPerConn: 0}} {
		if err := r.openRun(ctx, runs[i], t); err != nil {
			return err
		}
	}
	err = r.longRuns(ctx, runs)
	if done := len(runs[1].samples); done < parts {
		_, _ = fmt.Fprintf(r.stdout, "\nLeft out: %d of %d parts.\n", parts-done, parts)
		if done == 0 {
			return err
		}
	}
	return errors.Join(err, r.printMemory(runs), r.writeMemory(runs))
}

func (r *runner) openRun(ctx context.Context, run *longRun, t tuning) error {
	k := kinds()[1]
	s := r.site(k, len(r.all), &line{server: r.host.server.DSN()})
	s.tuning = t
	s.app = appPrefix + run.name
	p := &tenantry{strategy: bySchema, opts: []plugin.Option{plugin.WithPoolConfig(counting(&run.opened))}}
	run.competitor = &competitor{kind: k, pattern: p, app: s.app, tenants: s.tenants}
	return p.open(ctx, s)
}

// counting counts connections as they are opened.
func counting(n *atomic.Int64) func(*pgxpool.Config) error {
	return func(c *pgxpool.Config) error {
		c.AfterConnect = func(context.Context, *pgx.Conn) error { n.Add(1); return nil }
		return nil
	}
}

func closeRuns(runs []*longRun) (err error) {
	for _, run := range runs {
		if run.competitor != nil {
			err = errors.Join(err, run.competitor.pattern.close())
		}
	}
	return err
}

// longRuns ends with as many parts of each.
func (r *runner) longRuns(ctx context.Context, runs []*longRun) error {
	works := workloads()
	for part := range parts {
		var samples [2]sample
		for i := range runs {
			i = (i + part) % len(runs)
			j := job{competitor: runs[i].competitor, work: works[len(works)-1], workers: slices.Max(r.workers), seed: uint64(part)}
			j.statements = int64(max(1, r.statements/parts))
			var err error
			if samples[i], err = j.measure(ctx, r.processes); err != nil {
				return err
			}
		}
		for i, run := range runs {
			run.samples = append(run.samples, samples[i])
		}
		r.progress.say("%d of %d statements of each; %d and %d MB", (part+1)*r.statements/parts, r.statements, samples[0].memory/1e6, samples[1].memory/1e6)
	}
	return nil
}

func (l *longRun) last() sample { return l.samples[len(l.samples)-1] }

// peak is the most that was seen.
func (l *longRun) peak() (most int64) {
	for _, s := range l.samples {
		most = max(most, s.memory)
	}
	return most
}

// totals are figures of the run as a whole.
func (l *longRun) totals() []float64 {
	return []float64{float64(l.last().memory) / 1e6, float64(l.peak()) / 1e6, float64(l.opened.Load())}
}

func totalNames() []string { return []string{"memory_mb", "peak_mb", "backends_opened"} }

// longMetrics are figures of each part.
func longMetrics() []metric {
	perStatement := func(s sample) float64 { return 1 / float64(s.statements) }
	all := []metric{
		throughput(),
		{name: "server_cpu_us", of: func(s sample) float64 { return micros(s.serverCPU) * perStatement(s) }},
		{name: "client_cpu_us", of: func(s sample) float64 { return micros(s.clientCPU) * perStatement(s) }},
	}
	for _, m := range metrics() {
		if m.pooled {
			all = append(all, m)
		}
	}
	return all
}

func (r *runner) printMemory(runs []*longRun) error {
	_, _ = fmt.Fprintf(r.stdout, "\nmix of %d statements over %d tenants, %d connections, %d workers; p50 and p99 of a unit, CPU of a statement; [quartiles over %d parts]\n",
		r.statements, len(r.all), r.conns, slices.Max(r.workers), parts)
	w := tabwriter.NewWriter(r.stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(w, "\t%s\t%s\tratio\n", runs[0].name, runs[1].name)
	for i, name := range totalNames() {
		first, second := runs[0].totals()[i], runs[1].totals()[i]
		_, _ = fmt.Fprintf(w, "%s\t%.1f\t%.1f\t%.3f\n", name, first, second, first/second)
	}
	for _, m := range longMetrics() {
		ratio := m.ratio(runs[0].samples, runs[1].samples)
		_, _ = fmt.Fprintf(w, "%s\t%.1f\t%.1f\t%.3f [%.3f-%.3f]\n", m.name, m.value(runs[0].samples), m.value(runs[1].samples), ratio.median, ratio.low, ratio.high)
	}
	return w.Flush()
}

// writeMemory writes memory.csv, memory-course.csv and the plot.
func (r *runner) writeMemory(runs []*longRun) error {
	summary := [][]string{append([]string{"run"}, totalNames()...)}
	for _, m := range longMetrics() {
		summary[0] = append(summary[0], m.name)
	}
	course := [][]string{{"run", "statements", "memory_mb"}}
	for _, run := range runs {
		line := []string{run.name}
		for _, f := range run.totals() {
			line = append(line, number(f))
		}
		for _, m := range longMetrics() {
			line = append(line, number(m.value(run.samples)))
		}
		summary = append(summary, line)
		for _, p := range run.course() {
			course = append(course, []string{run.name, number(p.X), number(p.Y)})
		}
	}
	err := errors.Join(
		writeCSV(filepath.Join(r.out, "memory.csv"), summary),
		writeCSV(filepath.Join(r.out, "memory-course.csv"), course),
		r.plotMemory(runs))
	if err == nil {
		r.progress.tell("CSV files and the plot are in %s", r.out)
	}
	return err
}
