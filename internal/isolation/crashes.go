package isolation

import (
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
)

// OneIn returns the n of which a test that kills processes at many points tries only
// every nth: 1, or TENANTRY_TEST_CRASHES.
func OneIn(t testing.TB) int {
	t.Helper()
	text := os.Getenv("TENANTRY_TEST_CRASHES")
	if text == "" {
		return 1
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("TENANTRY_TEST_CRASHES is %q, not a number from 1 on", text)
	}
	return n
}

// Crashes returns the points of a series at which a process is to be killed, in order:
// all of them, or a random selection of one in [OneIn], rounded up.
func Crashes[T any](t testing.TB, points []T) []T {
	t.Helper()
	n := OneIn(t)
	chosen := rand.Perm(len(points))[:(len(points)+n-1)/n]
	slices.Sort(chosen)
	some := make([]T, len(chosen))
	for i, at := range chosen {
		some[i] = points[at]
	}
	return some
}
