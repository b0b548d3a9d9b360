package pgproxy

import (
	"syscall"
	"time"
)

// sleep is exact to some 60 µs, the slack that Linux gives a thread's timers. A
// signal may end it early.
func sleep(d time.Duration) {
	for end := time.Now().Add(d); d > 0; d = time.Until(end) {
		ts := syscall.NsecToTimespec(int64(d))
		_ = syscall.Nanosleep(&ts, nil)
	}
}
