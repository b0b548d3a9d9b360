package main_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	bench "github.com/tenantry/tenantry/internal/bench"
	"github.com/tenantry/tenantry/internal/pgserver"
)

// small is a run of a few seconds.
func small(out string, more ...string) []string {
	return append([]string{"-out", out, "-conns", "2", "-databases", "2", "-max-connections", "60", "-rounds", "2", "-slice", "5ms", "-warm", "1"}, more...)
}

func run(t *testing.T, args []string) (stdout string) {
	t.Helper()
	var out, progress bytes.Buffer
	if err := bench.Run(t.Context(), args, &out, &progress); err != nil {
		t.Fatalf("%v\n%s", err, progress.String())
	}
	return out.String()
}

// records returns the lines of a CSV file by the names of their columns.
func records(t *testing.T, path string) (all []map[string]string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil || len(lines) < 2 {
		t.Fatalf("%s: %d lines, %v", path, len(lines), err)
	}
	for _, line := range lines[1:] {
		record := map[string]string{}
		for i, name := range lines[0] {
			record[name] = line[i]
		}
		all = append(all, record)
	}
	return all
}

func TestEveryPatternDoesEveryWorkload(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	stdout := run(t, small(out, "-tenants", "1,20", "-delays", "0,1ms", "-workers", "1,4", "-hot", "8", "-tenants-per-conn", "4"))
	cells := records(t, filepath.Join(out, "cells.csv"))
	patterns, workloads := bench.Names()
	for _, p := range patterns {
		for _, w := range workloads {
			checkCells(t, cells, p, w)
		}
	}
	for _, want := range []string{"PostgreSQL 1", "fsync=off", "hot statements 8, tenants per connection 4", "out of connections: 20 pools of 2", "round trip 1ms: an empty query takes "} {
		if !strings.Contains(stdout, want) {
			t.Errorf("the output has no %q:\n%s", want, stdout)
		}
	}
	if n := len(records(t, filepath.Join(out, "rounds.csv"))); n < 1000 {
		t.Errorf("rounds.csv has %d lines", n)
	}
	summary, err := os.ReadFile(filepath.Join(out, "summary.md"))
	if err != nil || !strings.Contains(string(summary), "| 20 | read | a *gorm.DB and pool per tenant |  | out of connections | out of connections |") {
		t.Errorf("got the summary %s, %v", summary, err)
	}
	checkPlots(t, out, len(workloads)*2*2)
}

// checkCells looks at a workload of a pattern in 2 delays, 2 numbers of tenants and 2 of workers.
func checkCells(t *testing.T, cells []map[string]string, pattern, workload string) {
	t.Helper()
	seen := map[string]int{}
	for _, c := range cells {
		if c["pattern"] != pattern || c["workload"] != workload {
			continue
		}
		if c["note"] != "" {
			seen["absent"]++
			continue
		}
		seen[c["metric"]]++
		checkValue(t, c)
	}
	want := 8
	if pattern == "pools" {
		want = 4 // not for 20 tenants
	}
	for _, metric := range []string{"time_us", "statements_per_s", "p50_us", "p99_us", "client_cpu_us", "allocations", "server_cpu_us", "memory_mb", "backends"} {
		if seen[metric] != want || seen["absent"] != 8-want {
			t.Errorf("%s, %s: %d cells have %s and %d are left out", pattern, workload, seen[metric], metric, seen["absent"])
		}
	}
}

func checkValue(t *testing.T, c map[string]string) {
	t.Helper()
	visible := runtime.GOOS == "linux" && os.Getenv(pgserver.EnvDSN) == ""
	server := slices.Contains([]string{"server_cpu_us", "memory_mb", "backends"}, c["metric"])
	value, err := strconv.ParseFloat(c["value"], 64)
	ratio, ratioErr := strconv.ParseFloat(c["ratio"], 64)
	if errors.Join(err, ratioErr) != nil || (value <= 0 || ratio <= 0) && (visible || !server) {
		t.Errorf("got %v", c)
	}
	if c["metric"] == "backends" && c["pattern"] != "pools" && value > 3 {
		t.Errorf("%s has %v backends instead of 2, or one more for a base pool", c["pattern"], value)
	}
	if c["metric"] == "time_us" && c["delay_ms"] == "1" && value < 1000 {
		t.Errorf("a unit takes %v µs over a line of a millisecond", value)
	}
}

func checkPlots(t *testing.T, out string, want int) {
	t.Helper()
	plots, err := filepath.Glob(filepath.Join(out, "*.svg"))
	if err != nil || len(plots) != want {
		t.Fatalf("got %d plots, want %d, %v", len(plots), want, err)
	}
	for _, path := range plots {
		text, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(text, []byte("</svg>")) {
			t.Errorf("%s is no plot, %v", path, err)
		}
	}
}

func TestEachWorkloadNoticesAnotherTenantsRow(t *testing.T) {
	t.Parallel()
	found, err := bench.Leaks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, workloads := bench.Names(); len(found) != len(workloads) {
		t.Errorf("%d workloads were tried", len(found))
	}
	for workload, err := range found {
		if wrong := (*bench.WrongRowError)(nil); !errors.As(err, &wrong) {
			t.Errorf("%s does not look at what it gets: %v", workload, err)
		}
	}
}

func TestALongRunTellsMemory(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	stdout := run(t, small(out, "-memory", "-tenants", "10", "-workers", "4", "-statements", "500"))
	runs := records(t, filepath.Join(out, "memory.csv"))
	if len(runs) != 2 || !strings.Contains(stdout, "peak_mb") {
		t.Fatalf("got %d runs:\n%s", len(runs), stdout)
	}
	for _, r := range runs {
		if opened, err := strconv.Atoi(r["backends_opened"]); err != nil || opened < 1 {
			t.Errorf("got %v", r)
		}
	}
	checkPlots(t, out, 1)
}

// interrupter interrupts the run as soon as a cell is printed.
type interrupter struct {
	bytes.Buffer
	once      sync.Once
	interrupt context.CancelFunc
}

func (i *interrupter) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte("time/unit")) {
		i.once.Do(i.interrupt)
	}
	return i.Buffer.Write(b)
}

func TestAnInterruptedRunWritesWhatThereIs(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stdout, out := &interrupter{interrupt: cancel}, t.TempDir()
	err := bench.Run(ctx, small(out, "-tenants", "1", "-delays", "0", "-workers", "1"), stdout, io.Discard)
	if !errors.Is(err, bench.ErrInterrupted) {
		t.Fatalf("got %v", err)
	}
	if !strings.Contains(stdout.String(), "Left out: 5 of 6 cells. The last one is: read") {
		t.Errorf("got %s", stdout.String())
	}
	for _, c := range records(t, filepath.Join(out, "cells.csv")) {
		if c["workload"] != "read" {
			t.Errorf("got %v", c)
		}
	}
}

func TestColdReadsMeetAConnectionThatKnowsOthers(t *testing.T) {
	t.Parallel()
	for pattern, warmUp := range map[string][]string{
		"plain":  {"tenant 2: customers", "tenant 3: customers", "tenant 0: customers"},
		"schema": {"tenant 2: invoices", "tenant 3: invoices", "tenant 0: invoices"},
	} {
		t.Run(pattern, func(t *testing.T) {
			t.Parallel()
			notes, measured, err := bench.ColdCourse(t.Context(), pattern)
			want := append(slices.Repeat(warmUp, 8), slices.Repeat([]string{"tenant 1: invoices"}, 10)...)
			if err != nil || measured != 10 || !slices.Equal(notes, want) {
				t.Errorf("got %d times, %v, of\n%q\nwant\n%q", measured, err, notes, want)
			}
		})
	}
}

func TestColdReadsAreToldBesideWarmOnes(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	stdout := run(t, small(out, "-tenants", "1,4", "-delays", "0", "-workers", "2", "-workloads", "read", "-patterns", "schema,pools"))
	if !strings.Contains(stdout, "cold reads, 4 tenants") || strings.Contains(stdout, "cold reads, 1 tenants") {
		t.Errorf("got %s", stdout)
	}
	var got []string
	for _, c := range records(t, filepath.Join(out, "cells.csv")) {
		if c["workload"] == "read" || c["metric"] != "p50_us" && c["note"] == "" {
			continue
		}
		got = append(got, c["workload"]+" "+c["tenants"]+" "+c["pattern"]+c["note"])
		if c["note"] == "" {
			checkValue(t, c)
		}
	}
	var want []string
	for _, read := range []string{"read-1st", "read-2nd", "read-10th"} {
		want = append(want, read+" 4 plain", read+" 4 schema", read+" 4 poolsa connection serves one tenant")
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

func TestTheSummaryIsOneTableForEachDelay(t *testing.T) {
	t.Parallel()
	got, err := bench.Summary()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"a pattern did 400 units for each tenant (-warm 400)",
		"gorm-multitenancy",
		"set-reset is its UseTenant",
		"set-local is its WithTenant",
		`
## Round trip 1ms: an empty query takes 1.1ms

| tenants | work | pattern | cold: 1st, 2nd, 10th | workers: 1 | workers: 16 |
| --- | --- | --- | --- | --- | --- |
| 100 | read | plain GORM, one schema | 1ms, 1ms, 1ms | 1000/s, 1ms, 1ms | 1000/s, 1ms, 1ms |
| 100 | read | Tenantry, a schema per tenant | 2.00, 2.00, 2.00 | 0.50, 2.00, 2.00 | 0.50, 2.00, 2.00 |
| 100 | read | a *gorm.DB and pool per tenant |  | out of connections | out of connections |
| 100 | mix | plain GORM, one schema |  | not measured | not measured |
`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s\nis not in\n%s", want, got)
		}
	}
	if n := strings.Count(got, "\n| ---"); n != 1 {
		t.Errorf("%d tables", n)
	}
}

func TestAPoliteReadThatIsDueWaitsForTheOneBefore(t *testing.T) {
	t.Parallel()
	const each = 5 * bench.PoliteEvery
	took, err := bench.Polite(t.Context(), each, 20*bench.PoliteEvery)
	if err != nil || len(took) < 2 || len(took) > 4 {
		t.Fatalf("got %v, %v", took, err)
	}
	for i, d := range took {
		// The read of number i is due at i times PoliteEvery, and ends at i+1 times each.
		if want := time.Duration(i+1)*each - time.Duration(i)*bench.PoliteEvery; d < want {
			t.Errorf("read %d took %s, want at least %s", i, d, want)
		}
	}
}

func TestTheGreedyTenantFillsThePoolBeforeTheOthersAreMeasured(t *testing.T) {
	t.Parallel()
	wrong := errors.New("work")
	const takes = 20 * time.Millisecond
	if _, _, err := bench.BesideGreedy(t.Context(), takes, func(context.Context) error { return wrong }); !errors.Is(err, wrong) {
		t.Errorf("got %v", err)
	}
	before, during, err := bench.BesideGreedy(t.Context(), takes, func(ctx context.Context) error {
		_, err := bench.Polite(ctx, 2*takes, 10*takes)
		return err
	})
	if err != nil || before < 1 || during < 1 {
		t.Errorf("%d requests ended before, and %d in 200 ms, %v", before, during, err)
	}
}

func TestFairnessIsMeasured(t *testing.T) {
	t.Parallel()
	stdout := run(t, []string{"-greedy", "-out", t.TempDir(), "-max-connections", "60", "-rounds", "1", "-slice", "50ms"})
	var got []string
	for text := range strings.Lines(stdout) {
		if fields := strings.Fields(text); len(fields) == 12 {
			got = append(got, fields[0])
			if p99, err := time.ParseDuration(fields[5]); err != nil || p99 <= 0 {
				t.Errorf("got %s", text)
			}
		}
	}
	if !slices.Equal(got, []string{"plain", "schema"}) {
		t.Errorf("got %q in\n%s", got, stdout)
	}
}

func TestFlagsOutOfRangeAreRefused(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"-tenants 0":              `-tenants: "0" is no number from 1 to 100000`,
		"-tenants 1,x":            `-tenants: "x" is no number`,
		"-tenants 100001":         `-tenants: "100001" is no number from 1 to 100000`,
		"-workers -1":             `-workers: "-1" is no number`,
		"-delays 2":               `-delays: "2" is no time from 0 to 1s`,
		"-delays -1ms":            `-delays: "-1ms" is no time`,
		"-conns 0":                `-conns: 0 is not between 1 and 1000`,
		"-databases 0":            `-databases: 0 is not between`,
		"-rounds 0":               `-rounds: 0 is not between`,
		"-warm -1":                `-warm: -1 is not between`,
		"-statements 0":           `-statements: 0 is not between`,
		"-slice 0s":               `-slice: 0s is not between 1ms and 1h`,
		"-max-connections 100":    `-max-connections: the patterns need`,
		"-patterns schema,nobody": `-patterns: there is no "nobody": take some of plain,schema,`,
		"-workloads all,read":     `-workloads: there is no "all": take some of read,`,
		"-out=":                   `-out is empty`,
		"-greedy -tenants 20":     `-tenants: -greedy needs 21`,
		"-greedy -memory":         `-memory and -greedy are two runs`,
		"tenants":                 `"tenants" is no flag`,
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			err := bench.Parse(strings.Fields(args)...)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
}

func TestTheDefaultsTakeLessThan25Minutes(t *testing.T) {
	t.Parallel()
	for args, limit := range map[string]time.Duration{"": 25 * time.Minute, "-short": time.Minute} {
		took, err := bench.Estimate(strings.Fields(args)...)
		t.Logf("%q: %s", args, took)
		if err != nil || took > limit {
			t.Errorf("%q: %s, %v", args, took, err)
		}
	}
}

func TestRatiosAreTakenRoundByRound(t *testing.T) {
	t.Parallel()
	rounds := []time.Duration{2, 40, 6, 8, 10}
	plain := []time.Duration{1, 10, 2, 2, 2}
	if got, want := bench.Spread(rounds, plain), [5]float64{2, 3, 4, 4, 5}; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestAQuantileIsOneOfTheTimes(t *testing.T) {
	t.Parallel()
	var all []time.Duration
	for i := range 100 {
		all = append(all, time.Duration(100-i))
	}
	for q, want := range map[float64]time.Duration{0: 1, 0.5: 51, 0.99: 100, 1: 100} {
		t.Run(fmt.Sprint(q), func(t *testing.T) {
			if got := bench.Quantile(all, q); got != want {
				t.Errorf("got %d, want %d", got, want)
			}
		})
	}
}
