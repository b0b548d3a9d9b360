package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// writeSummary writes a table in Markdown for each delay, with the same text in front of it
// that a page of documentation needs.
func (r *runner) writeSummary(path string) error {
	if err := os.WriteFile(path, []byte(r.summary()), 0o644); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	return nil
}

func (r *runner) summary() string {
	var b strings.Builder
	fmt.Fprintf(&b, `# Against plain GORM

Below each number of workers: statements per second, 50th percentile and 99th percentile of a unit. Of plain
GORM these are figures, of all others ratios to plain GORM in the same round (median of %d rounds of %s,
%d connections). They are warm: before each of them a pattern did %s.
`, r.rounds, r.slice, r.conns, r.warmth())
	if slices.ContainsFunc(r.tenants, r.cold) {
		fmt.Fprintf(&b, `
Cold are the first, the second and the tenth read of a tenant on a new connection that has served other
tenants; with plain GORM, of a query on a new connection that has served another query (median of %d
connections). Patterns whose connections serve one tenant each have none.
`, coldConns*r.rounds)
	}
	b.WriteString("\n" + sameSQL + "\n")
	for _, delay := range r.delays {
		if trip, measured := r.trips[delay]; measured {
			fmt.Fprintf(&b, "\n## Round trip %s: an empty query takes %s\n\n", delay, trip.Round(time.Microsecond))
			r.table(&b, delay)
		}
	}
	return b.String()
}

// sameSQL says which patterns are a library's.
const sameSQL = `github.com/bartventer/gorm-multitenancy is here by its SQL: set-reset is its UseTenant, on a connection of
its own; set-local is its WithTenant, which sends one statement more, SET search_path TO public before COMMIT.`

// warmth says what comes before a cell is measured.
func (r *runner) warmth() string {
	if r.warm == 0 {
		return "one unit for each worker (-warm 0)"
	}
	return fmt.Sprintf("%d units for each tenant (-warm %d)", r.warm, r.warm)
}

// table has a line for each pattern with a workload and a number of tenants, and a column for
// each number of workers.
func (r *runner) table(b *strings.Builder, delay time.Duration) {
	head := []string{"tenants", "work", "pattern"}
	cold := slices.ContainsFunc(r.tenants, r.cold)
	if cold {
		head = append(head, "cold: 1st, 2nd, 10th")
	}
	for _, workers := range r.workers {
		head = append(head, fmt.Sprintf("workers: %d", workers))
	}
	tableLine(b, head)
	tableLine(b, slices.Repeat([]string{"---"}, len(head)))
	for _, n := range r.tenants {
		for _, w := range r.workloads {
			for _, k := range r.kinds {
				row := []string{strconv.Itoa(n), w.name, k.title}
				if cold {
					row = append(row, r.coldText(cell{delay: delay, tenants: n, workload: w}, k))
				}
				for _, workers := range r.workers {
					row = append(row, r.text(cell{delay, n, workers, w}, k, "statements_per_s", "p50_us", "p99_us"))
				}
				tableLine(b, row)
			}
		}
	}
}

func tableLine(b *strings.Builder, cells []string) {
	b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

func (r *runner) coldText(c cell, k kind) string {
	if c.workload.name != "read" || !r.cold(c.tenants) || !k.anyTenant {
		return ""
	}
	var all []string
	for _, read := range coldReads() {
		all = append(all, r.text(cell{c.delay, c.tenants, 1, read.work}, k, "p50_us"))
	}
	return strings.Join(all, ", ")
}

// text has metrics of a pattern in a cell: plain GORM's figures, the others' ratios, or why
// there are none.
func (r *runner) text(c cell, k kind, metrics ...string) string {
	i := slices.IndexFunc(r.results, func(res result) bool { return res.cell.String() == c.String() })
	if i < 0 {
		return "not measured"
	}
	for _, a := range r.results[i].absent {
		if a.kind.name == k.name {
			return strings.Split(a.why, ":")[0]
		}
	}
	var all []string
	for _, row := range r.results[i].rows {
		if row.kind.name == k.name {
			for _, name := range metrics {
				all = append(all, row.text(name))
			}
		}
	}
	return strings.Join(all, ", ")
}

func (r row) text(metric string) string {
	f := r.figure(metric)
	switch {
	case r.kind.name != plainName:
		return fmt.Sprintf("%.2f", f.ratio.median)
	case metric == throughput().name:
		return fmt.Sprintf("%.0f/s", f.value)
	}
	return duration(f.value)
}
