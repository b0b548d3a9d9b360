package migrator

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/tenantry/tenantry/internal/pgerr"
)

// maxTries is how often something is tried that is worth another try.
const maxTries = 5

// pause returns how long to wait after the given try: more each time, and never
// the same, so that those who were in each other's way don't meet again.
func pause(try int) time.Duration {
	const first, most = 100 * time.Millisecond, 5 * time.Second
	d := min(first<<(try-1), most)
	return d/2 + rand.N(d) //nolint:gosec // nobody gains by guessing it
}

// insist calls f, and again after a pause, up to maxTries times in all, while it fails
// with what is worth another try.
func insist(ctx context.Context, worth func(error) bool, f func() error) error {
	for try := 1; ; try++ {
		err := f()
		if err == nil || !worth(err) || try == maxTries || wait(ctx, pause(try)) != nil {
			return err
		}
	}
}

// wait waits for d, or until ctx ends, and returns its error then.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// retryLocks runs an attempt, and again, up to maxTries times, if it could not have a lock
// or was chosen as the victim of a deadlock. tried is called before each try, and after
// it with the error if there will be another.
func (e *executor) retryLocks(a attempt, tried func(try int, err error), did func(step)) (out attemptResult, err error) {
	out.did = did
	for try := 1; ; try++ {
		tried(try, nil)
		err = e.runAttemptSafely(a, &out)
		if !pgerr.Is(err, pgerr.LockNotAvailable, pgerr.DeadlockDetected) || try == maxTries || a.ctx.Err() != nil {
			return out, err
		}
		a.listed = nil // what was done is not in it
		tried(try, err)
		if wait(a.ctx, pause(try)) != nil {
			return out, err
		}
	}
}

// runAttemptSafely makes the panic of a migration an error.
func (e *executor) runAttemptSafely(a attempt, out *attemptResult) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a migration panicked: %v", p)
		}
	}()
	return e.runAttempt(a, out)
}
