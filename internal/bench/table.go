package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// print writes a cell as a table. In brackets stand the quartiles of the ratio.
func (r *runner) print(res result) error {
	_, _ = fmt.Fprintf(r.stdout, "\n%s\n", res.cell)
	w := tabwriter.NewWriter(r.stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "pattern\ttime/unit\tx plain\t\tstatements/s\tx\tp50\tx\tp99\tx\tclient CPU\tx\tallocs\tx\tserver CPU\tx\tbackends\tmemory\tx")
	for _, row := range res.rows {
		printRow(w, row)
	}
	for _, a := range res.absent {
		_, _ = fmt.Fprintf(w, "%s\t%s\n", a.kind.name, a.why)
	}
	return w.Flush()
}

func printRow(w io.Writer, r row) {
	unit, statements, p50, p99 := r.figure("time_us"), r.figure("statements_per_s"), r.figure("p50_us"), r.figure("p99_us")
	client, server, allocs, memory := r.figure("client_cpu_us"), r.figure("server_cpu_us"), r.figure("allocations"), r.figure("memory_mb")
	_, _ = fmt.Fprintf(w, "%s\t%s\t%.2f\t[%.2f-%.2f]\t%.0f\t%.2f\t%s\t%.2f\t%s\t%.2f\t%s\t%.2f\t%.0f\t%.2f\t%s\t%.2f\t%.0f\t%.1f MB\t%.2f\n",
		r.kind.name, duration(unit.value), unit.ratio.median, unit.ratio.low, unit.ratio.high,
		statements.value, statements.ratio.median, duration(p50.value), p50.ratio.median, duration(p99.value), p99.ratio.median,
		duration(client.value), client.ratio.median, allocs.value, allocs.ratio.median,
		duration(server.value), server.ratio.median, r.figure("backends").value, memory.value, memory.ratio.median)
}

// duration prints microseconds with three digits.
func duration(us float64) string {
	d := time.Duration(us * float64(time.Microsecond))
	switch {
	case d >= 10*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d >= 100*time.Microsecond:
		return d.Round(time.Microsecond).String()
	default:
		return d.Round(100 * time.Nanosecond).String()
	}
}
