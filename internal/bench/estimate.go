package main

import (
	"slices"
	"time"
)

// What things take that are not measured, by experience on two cores.
const (
	perSchema   = 20 * time.Millisecond // to make, and to remove its files
	perDatabase = 150 * time.Millisecond
	perOpening  = 200 * time.Millisecond // of a pattern
	overhead    = 1.3                    // a slice takes longer than it is: the first units, the last ones, /proc
	perMemory   = 400 * time.Microsecond // a statement of the long run
	serverStart = 3 * time.Second
)

// estimate returns how long the run will take, roughly.
func (c config) estimate() time.Duration {
	most := slices.Max(c.tenants)
	total := serverStart + time.Duration(most)*perSchema
	if c.memory {
		return (total + 2*time.Duration(c.statements)*perMemory).Round(time.Second)
	}
	total += time.Duration(min(most, c.databases)) * perDatabase
	for _, n := range c.tenants {
		group := time.Duration(0)
		for _, k := range c.kinds {
			if !c.leftOut(k, n) {
				cells := len(c.workers) * len(c.workloads)
				group += perOpening + time.Duration(float64(cells*c.rounds)*float64(c.slice)*overhead)
			}
		}
		total += time.Duration(len(c.delays)) * group
	}
	return total.Round(time.Second)
}

// leftOut says whether a pattern that needs databases has been measured with all of them already,
// at a smaller number of tenants.
func (c config) leftOut(k kind, tenants int) bool {
	return k.databases && slices.ContainsFunc(c.tenants, func(n int) bool { return n < tenants && n >= c.databases })
}
