package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"text/tabwriter"
	"time"

	"gorm.io/gorm"
)

// A read is cold if its connection has never served the tenant before. Where many tenants
// share a pool, that is the normal case. It is measured on a pool of one connection that is
// opened for it:
//
//  1. The connection reads warmUps times for other tenants, coldOthers of them in turn: it has
//     then read PostgreSQL's own catalogs, and has planned each of these tenants' statements
//     as many times as the server and the library ever do.
//  2. The tenant reads ten rows by their primary key. The times of the first, the second and
//     the tenth read are the figures.
//  3. The pool is closed.
//
// Plain GORM has one schema. As cold as a tenant is a query that is new to its connection, so
// plain GORM reads another table in step 1, as many times, and the same table as everybody else
// in step 2. Neither side counts the dial, the log-in and what a new connection needs once;
// both count what a session has to do for tables that are new to it: read their definitions,
// prepare the statement and plan it. GORM has parsed the model on both sides before.
//
// Patterns whose connections serve one tenant each are left out: there a tenant's first read
// opens a connection.
const (
	coldConns  = 5 // of each pattern in each round
	coldOthers = 3
	warmUps    = coldOthers * 8
)

// coldRead is one of a tenant's reads on a connection, counted from 1.
type coldRead struct {
	number int
	work   workload
}

func coldReads() []coldRead {
	return []coldRead{
		{1, workload{name: "read-1st", title: "a tenant's first read on a connection"}},
		{2, workload{name: "read-2nd", title: "a tenant's second read on a connection"}},
		{10, workload{name: "read-10th", title: "a tenant's tenth read on a connection"}},
	}
}

// cold reports whether cold reads are measured with n tenants: others are needed to warm up.
func (c config) cold(n int) bool {
	return n > 1 && slices.ContainsFunc(c.workloads, func(w workload) bool { return w.name == "read" })
}

// measureCold measures the cold reads of all patterns in turn, in as many rounds as the
// flags say.
func (r *runner) measureCold(ctx context.Context, l *line, delay time.Duration, n int) error {
	f, reads := r.coldField(n), coldReads()
	samples := make([][][]sample, len(reads)) // of each read, each pattern and each round
	for i := range samples {
		samples[i] = make([][]sample, len(f.runners))
	}
	for round := range r.rounds {
		r.progress.say("cold reads, %d tenants, %s round trip: round %d of %d", n, delay, round+1, r.rounds)
		for i := range f.runners {
			i = (i + round) % len(f.runners)
			took, err := r.coldRound(ctx, f.runners[i], l, round)
			if err != nil {
				return fmt.Errorf("bench: %s: cold read: %w", f.runners[i].kind.name, err)
			}
			for j, read := range reads {
				s := sample{units: coldConns, statements: coldConns}
				for _, course := range took {
					s.latencies = append(s.latencies, course[read.number-1])
				}
				samples[j][i] = append(samples[j][i], s)
			}
		}
	}
	var results []result
	for i, read := range reads {
		c := cell{delay: delay, tenants: n, workers: 1, workload: read.work}
		results = append(results, newResult(c, f, samples[i], latencies()))
	}
	r.results = append(r.results, results...)
	return r.printCold(results)
}

// coldField are the patterns that take part. They are opened for each connection.
func (r *runner) coldField(n int) *field {
	f := &field{}
	for _, k := range r.kinds {
		if k.anyTenant {
			f.runners = append(f.runners, &competitor{kind: k, tenants: r.all[:n]})
		} else {
			f.absent = append(f.absent, absence{k, "a connection serves one tenant"})
		}
	}
	return f
}

// coldRound returns the times of ten reads on each of coldConns connections.
func (r *runner) coldRound(ctx context.Context, c *competitor, l *line, round int) (took [][]time.Duration, err error) {
	s := r.site(c.kind, len(c.tenants), l)
	for i := range coldConns {
		n := round*coldConns + i
		course, err := coldCourse(ctx, c.kind, s, n%len(c.tenants), uint64(n))
		if err != nil {
			return nil, err
		}
		took = append(took, course)
	}
	return took, nil
}

// coldCourse opens a connection, warms it up with other tenants than the given one, and
// returns how long each of ten reads of the given one takes.
func coldCourse(ctx context.Context, k kind, s site, tenant int, seed uint64) (took []time.Duration, err error) {
	s.conns = 1
	p := k.build()
	defer func() { err = errors.Join(err, p.close()) }()
	if err := p.open(ctx, s); err != nil {
		return nil, err
	}
	draw := rand.New(rand.NewPCG(seed, 0))
	warmUp := job{competitor: &competitor{kind: k, pattern: p}, work: workload{run: read}}
	if k.name == plainName {
		warmUp.work.run = readCustomer
	}
	others := min(coldOthers, len(s.tenants)-1)
	for i := range warmUps {
		other := s.tenants[(tenant+1+i%others)%len(s.tenants)]
		if _, err := warmUp.unit(ctx, other, draw); err != nil {
			return nil, err
		}
	}
	measured := job{competitor: warmUp.competitor, work: workload{run: read}}
	for range 10 {
		begin := time.Now()
		if _, err := measured.unit(ctx, s.tenants[tenant], draw); err != nil {
			return nil, err
		}
		took = append(took, time.Since(begin))
	}
	return took, nil
}

// readCustomer warms plain GORM up. GORM gets to know the model that it will read next, as
// it does in the warming up of the others, but the server does not get to know the table.
func readCustomer(s session) (int, error) {
	if err := (&gorm.Statement{DB: s.db}).Parse(&Invoice{}); err != nil {
		return 0, err
	}
	var got Customer
	if err := s.of("customers").Take(&got, 1+s.draw.Int64N(customers)).Error; err != nil {
		return 0, err
	}
	return 1, s.mine(got.Marker)
}

// printCold writes the medians over all connections, and their ratios to plain GORM.
func (r *runner) printCold(results []result) error {
	c := results[0].cell
	_, _ = fmt.Fprintf(r.stdout, "\ncold reads, %d tenants, %s round trip: a tenant's reads on a connection that has not served it before, median of %d\n", c.tenants, c.delay, coldConns*r.rounds)
	w := tabwriter.NewWriter(r.stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprint(w, "pattern")
	for _, res := range results {
		_, _ = fmt.Fprintf(w, "\t%s\tx plain\t", res.cell.workload.name)
	}
	_, _ = fmt.Fprintln(w)
	for i, row := range results[0].rows {
		_, _ = fmt.Fprint(w, row.kind.name)
		for _, res := range results {
			p50 := res.rows[i].figure("p50_us")
			_, _ = fmt.Fprintf(w, "\t%s\t%.2f\t[%.2f-%.2f]", duration(p50.value), p50.ratio.median, p50.ratio.low, p50.ratio.high)
		}
		_, _ = fmt.Fprintln(w)
	}
	return w.Flush()
}
