package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// writeSummary writes the ratios to plain GORM as tables in Markdown, of patterns and
// workloads: one for each metric, delay, number of tenants and of workers.
func (r *runner) writeSummary(path string) error {
	var b strings.Builder
	b.WriteString("# Medians of the ratios to plain GORM\n")
	for _, m := range []struct{ name, title string }{
		{"time_us", "Time (mean)"},
		{"p50_us", "Time (50th percentile)"},
		{"p99_us", "Time (99th percentile)"},
		{"client_cpu_us", "CPU of the client"},
		{"allocations", "Allocations"},
		{"server_cpu_us", "CPU of the server"},
		{"memory_mb", "Memory of the backends"},
	} {
		fmt.Fprintf(&b, "\n## %s\n", m.title)
		for rest := r.results; len(rest) > 0; {
			group := sameSetting(rest)
			rest = rest[len(group):]
			r.summarize(&b, m.name, group)
		}
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	return nil
}

// sameSetting returns the results at the start that differ in their workload alone.
func sameSetting(results []result) []result {
	first := results[0].cell
	end := slices.IndexFunc(results, func(r result) bool {
		c := r.cell
		c.workload = first.workload
		return c.String() != first.String()
	})
	if end < 0 {
		end = len(results)
	}
	return results[:end]
}

func (r *runner) summarize(b *strings.Builder, metric string, group []result) {
	c := group[0].cell
	fmt.Fprintf(b, "\n%s round trip, %d tenants, %d workers:\n\n|", c.delay, c.tenants, c.workers)
	for _, res := range group {
		fmt.Fprintf(b, " | %s", res.cell.workload.name)
	}
	b.WriteString(" |\n|---" + strings.Repeat("|---", len(group)) + "|\n")
	for _, k := range r.kinds {
		fmt.Fprintf(b, "| %s", k.title)
		for _, res := range group {
			fmt.Fprintf(b, " | %s", res.text(k, metric))
		}
		b.WriteString(" |\n")
	}
}

// text is a pattern's ratio, or why there is none.
func (res result) text(k kind, metric string) string {
	for _, row := range res.rows {
		if row.kind.name == k.name {
			return fmt.Sprintf("%.2f", row.figure(metric).ratio.median)
		}
	}
	for _, a := range res.absent {
		if a.kind.name == k.name {
			return strings.Split(a.why, ":")[0]
		}
	}
	return ""
}
