package isolation_test

import (
	"slices"
	"testing"

	"github.com/tenantry/tenantry/internal/isolation"
)

func TestCrashesAreAllOrASelection(t *testing.T) {
	points := []int{0, 1, 2, 3, 4, 5, 6}
	for _, c := range []struct {
		oneIn string
		want  int
	}{{"", 7}, {"1", 7}, {"3", 3}, {"7", 1}, {"100", 1}} {
		t.Setenv("TENANTRY_TEST_CRASHES", c.oneIn)
		got := isolation.Crashes(t, points)
		if len(got) != c.want || len(slices.Compact(slices.Clone(got))) != c.want || !slices.IsSorted(got) {
			t.Errorf("one in %q: got %d, want %d different points in order", c.oneIn, got, c.want)
		}
	}
	if got := isolation.Crashes(t, []int{}); len(got) != 0 {
		t.Errorf("of no points: got %d", got)
	}
}
