package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

// TestMain is the process of the line where the tests start one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == lineArgument {
		exit(serveLine(os.Args[2:], os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

var (
	Run            = run
	ErrInterrupted = errInterrupted
)

// Names returns those of all patterns and workloads.
func Names() (patterns, loads []string) {
	return names(kinds(), kindName), names(workloads(), workloadName)
}

// Parse returns what is wrong with a command line.
func Parse(args ...string) error {
	_, err := parse(args, io.Discard)
	return err
}

// Estimate returns how long a command line takes.
func Estimate(args ...string) (time.Duration, error) {
	c, err := parse(args, io.Discard)
	return c.estimate(), err
}

// leaking serves everybody what the first tenant has.
type leaking struct {
	setLocal
	first string
}

func (p *leaking) run(ctx context.Context, t tenant, work func(session) error) error {
	t.schema = p.first
	return p.setLocal.run(ctx, t, work)
}

// WrongRowError is what a workload says of another tenant's row.
type WrongRowError = wrongRowError

// Leaks returns what each workload says of a pattern that leaks.
func Leaks(ctx context.Context) (found map[string]error, err error) {
	c, err := parse([]string{"-tenants", "2", "-conns", "2", "-databases", "1", "-short"}, io.Discard)
	if err != nil {
		return nil, err
	}
	r := &runner{config: c, stdout: io.Discard, progress: newProgress(io.Discard)}
	defer func() { err = errors.Join(err, r.stop()) }()
	if err := r.start(ctx); err != nil {
		return nil, err
	}
	k := kind{name: "leaking"}
	s := r.site(k, 2, &line{server: r.host.server.DSN()})
	p := &leaking{first: s.tenants[0].schema}
	if err := p.open(ctx, s); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	found = map[string]error{}
	for _, w := range workloads() {
		j := job{competitor: &competitor{kind: k, pattern: p, tenants: s.tenants}, work: w, workers: 1, statements: 1000}
		_, err := j.run(ctx)
		found[w.name] = err
	}
	return found, nil
}

// noting notes who reads what on its one connection.
type noting struct {
	pattern
	logger.Interface
	tenant int
	notes  *[]string
}

func (p *noting) run(ctx context.Context, t tenant, work func(session) error) error {
	return p.pattern.run(ctx, t, func(s session) error {
		p.tenant = t.number
		s.db = s.db.Session(&gorm.Session{Logger: p})
		return work(s)
	})
}

// Trace is called by GORM after each statement.
func (p *noting) Trace(_ context.Context, _ time.Time, statement func() (string, int64), _ error) {
	text, _ := statement()
	for _, table := range []string{"customers", "invoices"} {
		if strings.Contains(text, `"`+table+`"`) {
			*p.notes = append(*p.notes, fmt.Sprintf("tenant %d: %s", p.tenant, table))
		}
	}
}

// ColdCourse returns who reads what on one connection of a pattern when the cold reads of tenant 1 of 4
// are measured, and how many of these reads were measured.
func ColdCourse(ctx context.Context, name string) (notes []string, measured int, err error) {
	c, err := parse([]string{"-tenants", "4", "-databases", "1", "-short"}, io.Discard)
	if err != nil {
		return nil, 0, err
	}
	r := &runner{config: c, stdout: io.Discard, progress: newProgress(io.Discard)}
	defer func() { err = errors.Join(err, r.stop()) }()
	if err := r.start(ctx); err != nil {
		return nil, 0, err
	}
	k := c.kinds[slices.IndexFunc(c.kinds, func(k kind) bool { return k.name == name })]
	build := k.build
	k.build = func() pattern { return &noting{pattern: build(), Interface: logger.Discard, notes: &notes} }
	took, err := coldCourse(ctx, k, r.site(k, 4, &line{server: r.host.server.DSN()}), 1, 0)
	return notes, len(took), err
}

// slow takes a while for each unit of work, and does nothing.
type slow struct {
	pattern
	takes time.Duration
	ended atomic.Int64
}

func (p *slow) run(ctx context.Context, _ tenant, _ func(session) error) error {
	defer p.ended.Add(1)
	return waitUntil(ctx, time.Now().Add(p.takes))
}

// PoliteEvery is how often a polite tenant reads.
const PoliteEvery = politeEvery

// Polite returns how long the reads of a polite tenant take in the time of a slice, if each takes that
// long at the server.
func Polite(ctx context.Context, takes, slice time.Duration) ([]time.Duration, error) {
	var s sample
	c := &competitor{pattern: &slow{takes: takes}}
	start := time.Now()
	err := politeTenant(ctx, c, tenant{}, nil, start, start.Add(slice), &s)
	return s.latencies, err
}

// BesideGreedy returns how many requests of a greedy tenant ended before work and during it, if each takes
// that long.
func BesideGreedy(ctx context.Context, takes time.Duration, work func(context.Context) error) (before, during int64, err error) {
	p := &slow{takes: takes}
	during, err = besideGreedy(ctx, &competitor{pattern: p, tenants: make([]tenant, 1)}, func(ctx context.Context) error {
		before = p.ended.Load()
		return work(ctx)
	})
	return before, during, err
}

// Summary returns the Markdown of a run with 100 tenants, two numbers of workers and three patterns, of which
// one serves a tenant with each connection. Tenantry takes twice the time of plain GORM.
func Summary() (string, error) {
	c, err := parse([]string{"-tenants", "100", "-delays", "1ms", "-workers", "1,16", "-workloads", "read,mix", "-patterns", "schema,pools", "-warm", "400", "-rounds", "2"}, io.Discard)
	if err != nil {
		return "", err
	}
	r := &runner{config: c, trips: map[time.Duration]time.Duration{time.Millisecond: 1100 * time.Microsecond}}
	f := &field{absent: []absence{{c.kinds[2], "out of connections: 100 pools"}}}
	var samples [][]sample
	for i, k := range c.kinds[:2] {
		f.runners = append(f.runners, &competitor{kind: k})
		d := time.Duration(i+1) * time.Millisecond
		one := sample{units: 2, statements: 2, elapsed: 2 * d, latencies: []time.Duration{d, d}}
		samples = append(samples, []sample{one, one})
	}
	for _, workers := range c.workers {
		r.results = append(r.results, newResult(cell{time.Millisecond, 100, workers, c.workloads[0]}, f, samples, metrics()))
	}
	for _, read := range coldReads() {
		r.results = append(r.results, newResult(cell{time.Millisecond, 100, 1, read.work}, f, samples, latencies()))
	}
	return r.summary(), nil
}

// Spread returns the ratios of the times of some rounds: least, quartiles, most.
func Spread(rounds, plain []time.Duration) [5]float64 {
	samples := func(all []time.Duration) (list []sample) {
		for _, d := range all {
			list = append(list, sample{units: 1, latencies: []time.Duration{d}})
		}
		return list
	}
	s := metrics()[0].ratio(samples(rounds), samples(plain))
	return [5]float64{s.min, s.low, s.median, s.high, s.max}
}

// Quantile returns a quantile of some times.
func Quantile(values []time.Duration, q float64) time.Duration { return quantile(values, q) }
