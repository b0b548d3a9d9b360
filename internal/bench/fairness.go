package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"
)

// The greedy tenant is the first one, the polite tenants are those after it.
const (
	greedyRequests  = 64 // at a time
	greedyStatement = "select pg_sleep(0.2)"
	politeTenants   = 20
	politeEvery     = 10 * time.Millisecond // a read of each, one at a time
)

// fairness is what one pattern has shown, round by round.
type fairness struct {
	competitor *competitor
	without    []sample  // the polite tenants among themselves
	with       []sample  // the polite tenants beside the greedy one
	greedy     []float64 // requests of the greedy one in a second
	alone      []sample  // one tenant that has the pool to itself
}

// measureFairness measures all patterns in turn, as many rounds as the flags say. Plain GORM,
// whose tenants are one, shows what a queue that knows no tenants does.
func (r *runner) measureFairness(ctx context.Context, l *line, delay time.Duration) (err error) {
	field, err := r.open(ctx, l, len(r.all))
	defer func() { err = errors.Join(err, field.close()) }()
	if err != nil {
		return err
	}
	all := make([]*fairness, len(field.runners))
	for i, c := range field.runners {
		all[i] = &fairness{competitor: c}
		j := job{competitor: c, work: workload{name: "read", run: read}, workers: slices.Max(r.workers)}
		if _, err := j.warmUp(r.warm).measure(ctx, r.processes); err != nil {
			return err
		}
	}
	for round := range r.rounds {
		for i := range all {
			f := all[(i+round)%len(all)]
			r.progress.say("fairness, %s round trip: round %d of %d, %s", delay, round+1, r.rounds, f.competitor.kind.name)
			if err := r.fairRound(ctx, f, uint64(round)); err != nil {
				return err
			}
		}
	}
	return r.printFairness(delay, all)
}

func (r *runner) fairRound(ctx context.Context, f *fairness, seed uint64) error {
	without, err := polite(ctx, f.competitor, seed, r.slice)
	if err != nil {
		return err
	}
	var with sample
	greedy, err := besideGreedy(ctx, f.competitor, func(ctx context.Context) (err error) {
		with, err = polite(ctx, f.competitor, seed, r.slice)
		return err
	})
	if err != nil {
		return err
	}
	one := &competitor{kind: f.competitor.kind, pattern: f.competitor.pattern, app: f.competitor.app, tenants: f.competitor.tenants[:1]}
	alone, err := job{competitor: one, work: workload{name: "read", run: read}, workers: slices.Max(r.workers), seed: seed, slice: r.slice}.measure(ctx, r.processes)
	if err != nil {
		return err
	}
	f.without, f.with, f.alone = append(f.without, without), append(f.with, with), append(f.alone, alone)
	f.greedy = append(f.greedy, float64(greedy)/with.elapsed.Seconds())
	return nil
}

// polite lets each of the polite tenants read a row every politeEvery.
func polite(ctx context.Context, c *competitor, seed uint64, slice time.Duration) (sample, error) {
	parts := make([]sample, politeTenants)
	group, ctx := errgroup.WithContext(ctx)
	start := time.Now()
	for i := range parts {
		group.Go(func() error {
			first := start.Add(politeEvery * time.Duration(i) / politeTenants) // not all at once
			return politeTenant(ctx, c, c.tenants[1+i], rand.New(rand.NewPCG(seed, uint64(i))), first, start.Add(slice), &parts[i])
		})
	}
	err := group.Wait()
	return merge(parts, time.Since(start)), err
}

// politeTenant reads a row at first and every politeEvery after it. A read that is due before
// the one before it has ended has waited from then on, as its user has.
func politeTenant(ctx context.Context, c *competitor, t tenant, draw *rand.Rand, first, end time.Time, s *sample) error {
	j := job{competitor: c, work: workload{run: read}}
	for due := first; due.Before(end) && time.Now().Before(end); due = due.Add(politeEvery) {
		begin := due
		if time.Now().Before(due) {
			if err := waitUntil(ctx, due); err != nil {
				return err
			}
			begin = time.Now() // a timer that is late does not count
		}
		n, err := j.unit(ctx, t, draw)
		if err != nil {
			return fmt.Errorf("bench: %s: polite tenant %d: %w", c.kind.name, t.number, err)
		}
		s.units, s.statements = s.units+1, s.statements+n
		s.latencies = append(s.latencies, time.Since(begin))
	}
	return nil
}

func waitUntil(ctx context.Context, due time.Time) error {
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// besideGreedy runs work while the greedy tenant has greedyRequests under way, and returns how
// many of them ended in that time. Work begins when the first one has ended: the pool is full
// then and others wait. None is cancelled, since that would close connections.
func besideGreedy(ctx context.Context, c *competitor, work func(context.Context) error) (ended int64, err error) {
	var (
		over  atomic.Bool
		count atomic.Int64
		full  = make(chan struct{})
	)
	group, ctx := errgroup.WithContext(ctx)
	for range greedyRequests {
		group.Go(func() error {
			for !over.Load() {
				err := c.pattern.run(ctx, c.tenants[0], func(s session) error { return s.db.Exec(greedyStatement).Error })
				if err != nil {
					return fmt.Errorf("bench: %s: greedy tenant: %w", c.kind.name, err)
				}
				if count.Add(1) == 1 {
					close(full)
				}
			}
			return nil
		})
	}
	group.Go(func() error {
		defer over.Store(true)
		select {
		case <-full:
		case <-ctx.Done():
			return ctx.Err()
		}
		before := count.Load()
		err := work(ctx)
		ended = count.Load() - before
		return err
	})
	return ended, group.Wait()
}

// printFairness writes the latencies of the polite tenants without and with the greedy one,
// and the throughput of a tenant that is alone.
func (r *runner) printFairness(delay time.Duration, all []*fairness) error {
	_, _ = fmt.Fprintf(r.stdout, "\nfairness, %s round trip: %d polite tenants read a row every %s, one at a time; the greedy one has %d requests of %q under way;\n"+
		"then one tenant reads alone with %d workers; %d connections; [quartiles over %d rounds of %s]\n",
		delay, politeTenants, politeEvery, greedyRequests, greedyStatement, slices.Max(r.workers), r.conns, r.rounds, r.slice)
	w := tabwriter.NewWriter(r.stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "pattern\tp50 without\twith\tx\tp99 without\twith\tx without\t\tgreedy/s\talone: statements/s\tx plain\t")
	for _, f := range all {
		without := newRow(f.competitor, f.without, f.without, latencies())
		with := newRow(f.competitor, f.with, f.without, latencies())
		alone := newRow(f.competitor, f.alone, all[0].alone, metrics()).figure(throughput().name)
		p50, p99 := with.figure("p50_us"), with.figure("p99_us")
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%.2f\t%s\t%s\t%.2f\t[%.2f-%.2f]\t%.0f\t%.0f\t%.2f\t[%.2f-%.2f]\n",
			f.competitor.kind.name, duration(without.figure("p50_us").value), duration(p50.value), p50.ratio.median,
			duration(without.figure("p99_us").value), duration(p99.value), p99.ratio.median, p99.ratio.low, p99.ratio.high,
			at(f.greedy, 0.5), alone.value, alone.ratio.median, alone.ratio.low, alone.ratio.high)
	}
	return w.Flush()
}
