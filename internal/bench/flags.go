package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// config is what the command line says.
type config struct {
	kinds     []kind // plain GORM first
	workloads []workload
	tenants   []int           // ascending
	delays    []time.Duration // of a round trip
	workers   []int

	conns, databases, maxConnections int
	rounds                           int
	warm                             int // units
	slice                            time.Duration
	tuning                           tuning
	out                              string

	memory     bool
	statements int

	greedy bool
}

// maxTenants is what five digits can number (see newTenant).
const maxTenants = 100_000

func parse(args []string, stderr io.Writer) (config, error) {
	var c config
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	short := f.Bool("short", false, "a look in less than a minute: other defaults for -tenants, -delays, -workers, -databases, -rounds and -slice")
	patterns := f.String("patterns", "all", "patterns beside plain GORM: "+strings.Join(names(kinds()[1:], kindName), ","))
	loads := f.String("workloads", "all", "workloads: "+strings.Join(names(workloads(), workloadName), ","))
	tenants := f.String("tenants", "1,10,100,1000,10000", "numbers of tenants")
	delays := f.String("delays", "0,1ms", "what the network adds to each round trip")
	workers := f.String("workers", "1,16,64", "numbers of goroutines that do units of work")
	f.IntVar(&c.conns, "conns", 16, "connections of each pattern to the server")
	f.IntVar(&c.databases, "databases", 50, "how many tenants have a database, for the patterns that need one")
	f.IntVar(&c.maxConnections, "max-connections", 500, "max_connections of the server")
	f.IntVar(&c.rounds, "rounds", 5, "rounds of each cell")
	f.IntVar(&c.warm, "warm", 0, "units of work for each tenant before a cell is measured; 0 is one for each worker")
	f.DurationVar(&c.slice, "slice", 70*time.Millisecond, "how long each pattern runs in each round")
	f.IntVar(&c.tuning.hot, "hot", -1, "plugin.WithHotStatements; negative is the library's default")
	f.IntVar(&c.tuning.tenantsPerConn, "tenants-per-conn", -1, "plugin.WithTenantsPerConn; negative is the library's default")
	f.StringVar(&c.out, "out", "bench-results", "directory for CSV files and plots")
	f.BoolVar(&c.memory, "memory", false, "compare the memory of backends over a long run of the mix, with the largest number of -tenants and of -workers")
	f.IntVar(&c.statements, "statements", 1_000_000, "how many statements with -memory")
	f.BoolVar(&c.greedy, "greedy", false, fmt.Sprintf("compare what %d tenants get without and with a greedy one in the same pool, and what a tenant gets that has the pool to itself, with the largest number of -workers; other defaults for -patterns, -tenants, -delays, -workers, -databases and -slice", politeTenants))
	if err := f.Parse(args); err != nil {
		return c, err
	}
	if f.NArg() > 0 {
		return c, fmt.Errorf("bench: %q is no flag", f.Arg(0))
	}
	var defaults []map[string]string
	if c.greedy {
		defaults = append(defaults, map[string]string{"patterns": "schema", "tenants": strconv.Itoa(politeTenants + 1), "delays": "0", "workers": "16", "databases": "1", "slice": "2s"})
	}
	if *short {
		defaults = append(defaults, map[string]string{"tenants": "1,20", "delays": "0,1ms", "workers": "8", "databases": "5", "rounds": "3", "slice": "20ms", "statements": "20000"})
	}
	if err := setDefaults(f, defaults); err != nil {
		return c, err
	}
	var errs [5]error
	c.kinds, errs[0] = chosen(kinds(), kindName, "patterns", *patterns)
	c.workloads, errs[1] = chosen(workloads(), workloadName, "workloads", *loads)
	c.tenants, errs[2] = numbers("tenants", *tenants, maxTenants)
	c.workers, errs[3] = numbers("workers", *workers, 10_000)
	c.delays, errs[4] = durations("delays", *delays)
	if c.kinds = slices.DeleteFunc(c.kinds, func(k kind) bool { return k.name == plainName }); errs[0] == nil {
		c.kinds = slices.Insert(c.kinds, 0, kinds()[0])
	}
	return c, errors.Join(errors.Join(errs[:]...), c.check())
}

// setDefaults sets what the command line has not set. Earlier defaults go before later ones.
func setDefaults(f *flag.FlagSet, defaults []map[string]string) error {
	for _, values := range defaults {
		f.Visit(func(set *flag.Flag) { delete(values, set.Name) })
		for name, value := range values {
			if err := f.Set(name, value); err != nil {
				return err
			}
		}
	}
	return nil
}

// check refuses numbers that mean nothing.
func (c config) check() error {
	var errs []error
	for _, n := range []struct {
		flag             string
		value, low, high int
	}{
		{"conns", c.conns, 1, 1000},
		{"databases", c.databases, 1, 1000},
		{"max-connections", c.maxConnections, 20, 10_000},
		{"rounds", c.rounds, 1, 1000},
		{"warm", c.warm, 0, 1000},
		{"statements", c.statements, 1, 1_000_000_000},
	} {
		if n.value < n.low || n.value > n.high {
			errs = append(errs, fmt.Errorf("bench: -%s: %d is not between %d and %d", n.flag, n.value, n.low, n.high))
		}
	}
	if c.slice < time.Millisecond || c.slice > time.Hour {
		errs = append(errs, fmt.Errorf("bench: -slice: %s is not between 1ms and 1h", c.slice))
	}
	if c.out == "" {
		errs = append(errs, errors.New("bench: -out is empty"))
	}
	if c.memory && c.greedy {
		errs = append(errs, errors.New("bench: -memory and -greedy are two runs"))
	}
	if c.greedy && len(c.tenants) > 0 && slices.Max(c.tenants) <= politeTenants {
		errs = append(errs, fmt.Errorf("bench: -tenants: -greedy needs %d", politeTenants+1))
	}
	if need := c.connections(); need > c.maxConnections {
		errs = append(errs, fmt.Errorf("bench: -max-connections: the patterns need %d", need))
	}
	return errors.Join(errs...)
}

// connections is what all patterns have open at a time, but for that of a pool per tenant,
// which takes what is left, and some for ourselves.
func (c config) connections() int {
	n := 10
	for _, k := range c.kinds {
		if k.pools {
			continue
		}
		if k.databases {
			n += max(c.conns, c.databases) + 1
		} else {
			n += c.conns
		}
	}
	return n
}

func kindName(k kind) string         { return k.name }
func workloadName(w workload) string { return w.name }

func names[T any](all []T, name func(T) string) (list []string) {
	for _, one := range all {
		list = append(list, name(one))
	}
	return list
}

// chosen returns those of all that a list names, in the order of all.
func chosen[T any](all []T, name func(T) string, flag, list string) ([]T, error) {
	if list == "all" {
		return all, nil
	}
	want := strings.Split(list, ",")
	for _, w := range want {
		if !slices.Contains(names(all, name), w) {
			return nil, fmt.Errorf("bench: -%s: there is no %q: take some of %s", flag, w, strings.Join(names(all, name), ","))
		}
	}
	return slices.DeleteFunc(all, func(one T) bool { return !slices.Contains(want, name(one)) }), nil
}

// numbers reads a list of numbers, and sorts it.
func numbers(flag, list string, most int) (all []int, err error) {
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 1 || n > most {
			return nil, fmt.Errorf("bench: -%s: %q is no number from 1 to %d", flag, text, most)
		}
		all = append(all, n)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

func durations(flag, list string) (all []time.Duration, err error) {
	for text := range strings.SplitSeq(list, ",") {
		d, err := time.ParseDuration(strings.TrimSpace(text))
		if err != nil || d < 0 || d > time.Second {
			return nil, fmt.Errorf("bench: -%s: %q is no time from 0 to 1s, such as 0.5ms", flag, text)
		}
		all = append(all, d)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}
