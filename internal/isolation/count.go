package isolation

import (
	"os"
	"strconv"
	"testing"
)

// least is how few statements may be asked for: with fewer, too little goes wrong on purpose
// to prove anything.
const least = 50_000

// Statements is how many to send: n, or what TENANTRY_TEST_STATEMENTS says, for a longer
// run by hand, or for a shorter one after the full one.
func Statements(t testing.TB, n int64) int64 {
	t.Helper()
	if text := os.Getenv("TENANTRY_TEST_STATEMENTS"); text != "" {
		other, err := strconv.ParseInt(text, 10, 64)
		if err != nil || other < least {
			t.Fatalf("TENANTRY_TEST_STATEMENTS is %q, not a number from %d on", text, least)
		}
		return other
	}
	return n
}
