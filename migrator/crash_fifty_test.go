//go:build unix && integration

package migrator_test

import (
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/isolation"
)

// TestFiftyKilledProcesses kills one of three processes, or all three, at a random
// moment of a run over five hundred tenants. It does so sixty times, or fewer where
// the environment says so.
func TestFiftyKilledProcesses(t *testing.T) {
	t.Parallel()
	start := time.Now()
	s := newSiege(t, 500)
	rounds := max(50/isolation.OneIn(t), 10)
	for round := range rounds {
		if round%2 == 0 {
			s.killOne(t, s.atAnyTime)
		} else {
			s.killOne(t, s.inTheMiddle)
		}
		if round%5 == 4 {
			s.killAll(t)
		}
	}
	s.log(t, start)
	if rounds == 50 && s.several == 0 {
		t.Error("no run was interrupted: the test proves little")
	}
	if s.amid < rounds*2/5 {
		t.Errorf("only %d kills in %d rounds came in the middle of a run: the test proves little", s.amid, rounds)
	}
}
