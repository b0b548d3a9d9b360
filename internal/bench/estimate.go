package main

import (
	"slices"
	"time"
)

// What things take that are not measured, by experience on two cores.
const (
	perSchema   = 20 * time.Millisecond // to make, and to remove its files
	perDatabase = 150 * time.Millisecond
	perOpening  = 200 * time.Millisecond  // of a pattern
	overhead    = 1.3                     // a slice takes longer than it is: the first units, the last ones, /proc
	perMemory   = 400 * time.Microsecond  // a statement of the long run
	perCold     = 60 * time.Millisecond   // a connection on which cold reads are measured, without the delay
	perDraining = 1500 * time.Millisecond // until the greedy tenant fills the pool, and until it is gone
	perWarmUp   = 300 * time.Microsecond  // a unit, without its round trips
	warmUpTrips = 2                       // round trips of a unit
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
	if c.greedy {
		round := 3*c.slice + perDraining
		return (total + time.Duration(len(c.delays)*c.rounds*len(c.kinds))*round).Round(time.Second)
	}
	for _, n := range c.tenants {
		for _, delay := range c.delays {
			for _, k := range c.kinds {
				if !c.leftOut(k, n) {
					total += c.estimateKind(n, delay)
				}
			}
			if c.cold(n) {
				connections := coldConns * c.rounds * c.coldKinds()
				total += time.Duration(connections) * (perCold + (warmUps+10)*delay)
			}
		}
	}
	return total.Round(time.Second)
}

// estimateKind returns how long one pattern takes with n tenants over one line.
func (c config) estimateKind(n int, delay time.Duration) time.Duration {
	cells := len(c.workers) * len(c.workloads)
	total := perOpening + time.Duration(float64(cells*c.rounds)*float64(c.slice)*overhead)
	for _, workers := range c.workers {
		units := len(c.workloads) * c.warm * n
		total += time.Duration(units) * perWarmUp
		total += time.Duration(units/min(workers, c.conns)) * warmUpTrips * delay
	}
	return total
}

// coldKinds returns how many patterns cold reads are measured of.
func (c config) coldKinds() (n int) {
	for _, k := range c.kinds {
		if k.anyTenant {
			n++
		}
	}
	return n
}

// leftOut says whether a pattern that needs databases has been measured with all of them already,
// at a smaller number of tenants.
func (c config) leftOut(k kind, tenants int) bool {
	return k.databases && slices.ContainsFunc(c.tenants, func(n int) bool { return n < tenants && n >= c.databases })
}
