package migrator

import "time"

// WithLease sets for how long a process that has not been heard of counts as alive,
// so that tests need not wait for long.
func WithLease(d time.Duration) Option {
	return func(c *config) error {
		c.lease = d
		return nil
	}
}
