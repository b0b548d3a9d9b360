//go:build unix && integration

package migrator_test

import (
	"testing"
	"time"
)

// TestFiftyKilledProcesses is the promise in full: fifty times one of three
// processes is killed at any moment of a run over five hundred tenants, and
// sometimes all of them are.
func TestFiftyKilledProcesses(t *testing.T) {
	t.Parallel()
	start := time.Now()
	s := newSiege(t, 500)
	for round := range 50 {
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
	if s.several == 0 {
		t.Error("no run was interrupted: the test proves little")
	}
	if s.amid < 20 {
		t.Errorf("only %d of 60 kills came in the middle of a run: the test proves little", s.amid)
	}
}
