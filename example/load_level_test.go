//go:build integration

package main_test

import (
	"context"
	"fmt"
	"regexp"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// countBackends counts the connections of the program and of the test's catalog.
const countBackends = "select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"

// level is what a process holds at a moment.
type level struct{ goroutines, heap, pooled, backends int }

func (l level) String() string {
	return fmt.Sprintf("%d goroutines, %.1f MB of heap, %d connections to customers' databases, %d backends",
		l.goroutines, float64(l.heap)/(1<<20), l.pooled, l.backends)
}

// max returns the higher of each.
func (l level) max(o level) level {
	return level{max(l.goroutines, o.goroutines), max(l.heap, o.heap), max(l.pooled, o.pooled), max(l.backends, o.backends)}
}

// watch looks at the levels every second.
func (l *load) watch(ctx context.Context, conn *pgx.Conn) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		one, err := l.look(conn)
		if err != nil {
			return err
		}
		l.highest = l.highest.max(one)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// rest waits until nothing goes on any more, and looks then.
func (l *load) rest(conn *pgx.Conn) level {
	l.t.Helper()
	l.client.CloseIdleConnections()
	count, same := 0, 0
	until(l.t, "goroutines are as many as before", func() bool {
		if now := runtime.NumGoroutine(); now != count {
			count, same = now, 0
		}
		same++
		return same > 20
	})
	one, err := l.look(conn)
	if err != nil {
		l.t.Fatal(err)
	}
	return one
}

func (l *load) look(conn *pgx.Conn) (one level, err error) {
	var memory runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&memory)
	one.goroutines, one.heap = runtime.NumGoroutine(), int(memory.HeapAlloc)
	if one.pooled, err = l.metric("tenantry_pools_connections"); err != nil {
		return one, err
	}
	return one, conn.QueryRow(context.Background(), countBackends).Scan(&one.backends)
}

// metric returns the sum of a gauge.
func (l *load) metric(name string) (sum int, err error) {
	r, err := l.send("GET", "localhost", "/metrics", "", "", "")
	if err != nil {
		return 0, err
	}
	found := regexp.MustCompile(`(?m)^`+name+`(?:\{.*\})? (\d+)$`).FindAllSubmatch(r.Body, -1)
	if found == nil {
		return 0, fmt.Errorf("/metrics has no %s: status %d", name, r.Code)
	}
	for _, f := range found {
		n, _ := strconv.Atoi(string(f[1])) // digits
		sum += n
	}
	return sum, nil
}

// mustBeLevel compares what the program holds after a load with what it held early.
func mustBeLevel(t *testing.T, before, after, highest level) {
	t.Helper()
	pools := max(0, after.pooled-before.pooled) // each has a goroutine, also of who is gone, until it is idle for long
	if after.goroutines > before.goroutines+before.goroutines/4+pools {
		t.Errorf("%d goroutines became %d", before.goroutines, after.goroutines)
	}
	if after.heap > before.heap+before.heap/4+4<<20 {
		t.Errorf("%d bytes of heap became %d", before.heap, after.heap)
	}
	if highest.pooled > loadBudget {
		t.Errorf("%d connections to customers' databases were open, the budget is %d", highest.pooled, loadBudget)
	}
}
