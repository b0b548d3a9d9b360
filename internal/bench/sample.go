package main

import (
	"slices"
	"time"
)

// sample is what one slice of one pattern has shown.
type sample struct {
	units, statements int
	elapsed           time.Duration
	latencies         []time.Duration // of each unit, in no order
	clientCPU         time.Duration
	allocations       uint64

	// Where the server's processes can't be seen these are 0.
	serverCPU time.Duration
	memory    int64 // anonymous memory of the backends, in bytes
	backends  int
}

// merge adds up what several workers have shown in the same time.
func merge(parts []sample, elapsed time.Duration) sample {
	total := sample{elapsed: elapsed}
	for _, part := range parts {
		total.units += part.units
		total.statements += part.statements
		total.latencies = append(total.latencies, part.latencies...)
	}
	return total
}

// metric is one figure of a pattern.
type metric struct {
	name   string // with its unit
	of     func(sample) float64
	pooled bool // its value is that of all rounds together; otherwise the median of the rounds'
}

func metrics() []metric {
	return append(latencies(), []metric{
		throughput(),
		{name: "client_cpu_us", of: func(s sample) float64 { return perUnit(s.clientCPU, s) }},
		{name: "allocations", of: func(s sample) float64 { return float64(s.allocations) / float64(s.units) }},
		{name: "server_cpu_us", of: func(s sample) float64 { return perUnit(s.serverCPU, s) }},
		{name: "memory_mb", of: func(s sample) float64 { return float64(s.memory) / 1e6 }},
		{name: "backends", of: func(s sample) float64 { return float64(s.backends) }},
	}...)
}

// latencies are the times of single units.
func latencies() []metric {
	return []metric{
		{name: "time_us", of: func(s sample) float64 { return perUnit(sum(s.latencies), s) }},
		{name: "p50_us", of: func(s sample) float64 { return micros(quantile(s.latencies, 0.5)) }, pooled: true},
		{name: "p99_us", of: func(s sample) float64 { return micros(quantile(s.latencies, 0.99)) }, pooled: true},
	}
}

func throughput() metric {
	return metric{name: "statements_per_s", of: func(s sample) float64 { return float64(s.statements) / s.elapsed.Seconds() }}
}

func perUnit(d time.Duration, s sample) float64 { return micros(d) / float64(s.units) }

// value returns m of a pattern's rounds.
func (m metric) value(rounds []sample) float64 {
	if m.pooled {
		var all sample
		for _, s := range rounds {
			all.latencies = append(all.latencies, s.latencies...)
		}
		return m.of(all)
	}
	values := make([]float64, len(rounds))
	for i, s := range rounds {
		values[i] = m.of(s)
	}
	return at(values, 0.5)
}

// spread is a ratio over the rounds.
type spread struct{ min, low, median, high, max float64 }

// ratio compares each round with the same round of plain GORM. It is zero where there is
// nothing to compare.
func (m metric) ratio(rounds, plain []sample) spread {
	var all []float64
	for i := range min(len(rounds), len(plain)) {
		if limit := m.of(plain[i]); limit > 0 {
			all = append(all, m.of(rounds[i])/limit)
		}
	}
	if len(all) == 0 {
		return spread{}
	}
	return spread{min: at(all, 0), low: at(all, 0.25), median: at(all, 0.5), high: at(all, 0.75), max: at(all, 1)}
}

// at returns a quantile, between two values in proportion.
func at(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	place := q * float64(len(sorted)-1)
	low := int(place)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (place-float64(low))*(sorted[high]-sorted[low])
}

// quantile returns the smallest value that is not below a share q of all.
func quantile(values []time.Duration, q float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func sum(all []time.Duration) (total time.Duration) {
	for _, d := range all {
		total += d
	}
	return total
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
