package main

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"
	"time"
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
