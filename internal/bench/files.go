package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// writeResults writes cells.csv, rounds.csv, summary.md and the plots.
func (r *runner) writeResults() error {
	err := errors.Join(
		writeCSV(filepath.Join(r.out, "cells.csv"), cellTable(r.results)),
		writeCSV(filepath.Join(r.out, "rounds.csv"), roundTable(r.results)),
		r.writeSummary(filepath.Join(r.out, "summary.md")),
		r.plotAll())
	if err == nil {
		r.progress.tell("CSV files, a summary and plots are in %s", r.out)
	}
	return err
}

func writeCSV(path string, table [][]string) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return csv.NewWriter(f).WriteAll(table)
}

// cellTable has a line for each metric of each pattern in each cell.
func cellTable(results []result) [][]string {
	table := [][]string{{"workload", "delay_ms", "tenants", "workers", "pattern", "tenants_served", "units", "metric", "value", "ratio", "ratio_min", "ratio_q1", "ratio_q3", "ratio_max", "note"}}
	for _, res := range results {
		for _, row := range res.rows {
			for _, f := range row.figures {
				line := append(key(res.cell), row.kind.name, strconv.Itoa(row.tenants), strconv.Itoa(row.units), f.metric.name, number(f.value))
				for _, n := range []float64{f.ratio.median, f.ratio.min, f.ratio.low, f.ratio.high, f.ratio.max} {
					line = append(line, number(n))
				}
				table = append(table, append(line, ""))
			}
		}
		for _, a := range res.absent {
			line := append(key(res.cell), a.kind.name)
			table = append(table, append(append(line, make([]string, 9)...), a.why))
		}
	}
	return table
}

// roundTable has a line for each metric of each pattern in each round.
func roundTable(results []result) [][]string {
	table := [][]string{{"workload", "delay_ms", "tenants", "workers", "pattern", "metric", "round", "value"}}
	for _, res := range results {
		for _, row := range res.rows {
			for _, f := range row.figures {
				for i, n := range f.rounds {
					table = append(table, append(key(res.cell), row.kind.name, f.metric.name, strconv.Itoa(i+1), number(n)))
				}
			}
		}
	}
	return table
}

func key(c cell) []string {
	return []string{c.workload.name, number(float64(c.delay.Microseconds()) / 1000), strconv.Itoa(c.tenants), strconv.Itoa(c.workers)}
}

func number(f float64) string { return strconv.FormatFloat(f, 'g', 6, 64) }
