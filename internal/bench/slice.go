package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Zipf's law: the tenant of rank k is drawn in proportion to (v+k)^-s.
const (
	zipfS = 1.1
	zipfV = 1
)

// competitor is a pattern at work.
type competitor struct {
	kind    kind
	pattern pattern
	app     string
	tenants []tenant
	next    atomic.Int64 // numbers units, over all slices: none meets only tenants that another one has warmed up
	spent   atomic.Int64 // statements of the slice so far
}

// job is a slice of a competitor's time.
type job struct {
	*competitor
	work    workload
	workers int
	seed    uint64 // the same for all competitors of a round

	// The job is over after this time or, if one of these is positive, after that many. Each
	// worker ends the unit that it has begun, and does one at least.
	slice      time.Duration
	statements int64
	units      int // of each worker
}

// measure runs the job, and reads what it has cost.
func (j job) measure(ctx context.Context, p *processes) (sample, error) {
	before, err := p.read(ctx, j.app)
	if err != nil {
		return sample{}, err
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	allocations, cpu := memory.Mallocs, clientCPU()
	s, err := j.run(ctx)
	s.clientCPU = clientCPU() - cpu
	runtime.ReadMemStats(&memory)
	s.allocations = memory.Mallocs - allocations
	if err != nil {
		return s, fmt.Errorf("bench: %s: %s: %w", j.kind.name, j.work.name, err)
	}
	after, err := p.read(ctx, j.app)
	s.serverCPU, s.memory, s.backends = after.since(before), after.memory, len(after.cpu)
	return s, err
}

// run lets the workers work.
func (j job) run(ctx context.Context) (sample, error) {
	parts := make([]sample, j.workers)
	j.spent.Store(0)
	group, ctx := errgroup.WithContext(ctx)
	start := time.Now()
	for w := range j.workers {
		group.Go(func() error { return j.worker(ctx, w, start, &parts[w]) })
	}
	err := group.Wait()
	return merge(parts, time.Since(start)), err
}

func (j job) worker(ctx context.Context, number int, start time.Time, s *sample) error {
	draw := rand.New(rand.NewPCG(j.seed, uint64(number)))
	choose := j.chooser(draw)
	for {
		begin := time.Now()
		n, err := j.unit(ctx, choose(), draw)
		if err != nil {
			return err
		}
		s.latencies = append(s.latencies, time.Since(begin))
		s.units++
		s.statements += n
		if j.over(start, j.spent.Add(int64(n)), s.units) {
			return nil
		}
	}
}

func (j job) over(start time.Time, spent int64, units int) bool {
	switch {
	case j.units > 0:
		return units >= j.units
	case j.statements > 0:
		return spent >= j.statements
	}
	return time.Since(start) >= j.slice
}

func (j job) unit(ctx context.Context, t tenant, draw *rand.Rand) (n int, err error) {
	err = j.pattern.run(ctx, t, func(s session) (err error) {
		s.draw = draw
		n, err = j.work.run(s)
		return err
	})
	var wrong *wrongRowError
	if errors.As(err, &wrong) {
		return n, fmt.Errorf("tenant %d: %w", t.number, err)
	}
	return n, err
}

// chooser returns what says whose the next unit is.
func (j job) chooser(draw *rand.Rand) func() tenant {
	n := uint64(len(j.tenants))
	if j.work.zipf {
		zipf := rand.NewZipf(draw, zipfS, zipfV, n-1)
		return func() tenant { return j.tenants[zipf.Uint64()] }
	}
	return func() tenant { return j.tenants[uint64(j.next.Add(1))%n] }
}
