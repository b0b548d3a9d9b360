package migrator

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// crew is the goroutines of a shift that do the tenants of one server. They stay: the
// stack of a new one for each tenant would have to grow each time.
type crew struct {
	shift *shift
	limit int64
	room  *semaphore.Weighted // of the server; the shift's slots are those of all
	hired int64
	todo  chan claimed
	at    sync.WaitGroup
}

func newCrew(s *shift, limit int) *crew {
	return &crew{shift: s, limit: int64(limit), room: semaphore.NewWeighted(int64(limit)), todo: make(chan claimed)}
}

// dismiss waits until all that was begun is through.
func (c *crew) dismiss() {
	close(c.todo)
	c.at.Wait()
}

// do hands over a tenant as soon as there is room for one more, unless the run has
// stopped by then.
func (c *crew) do(ctx context.Context, t claimed) (stopped bool, err error) {
	// Of the server first: nothing waits for it with a slot that another server could use.
	if err := c.room.Acquire(ctx, 1); err != nil {
		return false, err
	}
	if err := c.shift.slots.Acquire(ctx, 1); err != nil {
		c.room.Release(1)
		return false, err
	}
	if c.shift.stopped() {
		c.release()
		return true, nil
	}
	if c.hired < c.limit {
		c.hired++
		c.at.Go(func() { c.work(ctx) })
	}
	c.todo <- t // received soon: there is room
	return false, nil
}

func (c *crew) release() {
	c.shift.slots.Release(1)
	c.room.Release(1)
}

// work does tenants until the crew is dismissed. A migration may end its goroutine.
func (c *crew) work(ctx context.Context) {
	dismissed := false
	defer func() {
		if !dismissed {
			c.at.Go(func() { c.work(ctx) })
		}
	}()
	for t := range c.todo {
		c.migrate(ctx, t)
	}
	dismissed = true
}

func (c *crew) migrate(ctx context.Context, t claimed) {
	defer c.release()
	c.shift.migrate(ctx, t)
}

// busy waits for what is at work, but not longer than lookAgain, and reports whether
// something still is. It may be all that the run is waiting for.
func (c *crew) busy(ctx context.Context) (bool, error) {
	brief, cancel := context.WithTimeout(ctx, lookAgain)
	defer cancel()
	if c.room.Acquire(brief, c.limit) != nil {
		return true, context.Cause(ctx)
	}
	c.room.Release(c.limit)
	return false, nil
}

// reserve is how many of the claims are left when the next are claimed, so that the
// crew does not wait for them. None where there are few, as tenants take long: others
// could do them meanwhile.
func (c *crew) reserve(claims []claimed) int {
	return max(0, len(claims)-int(c.limit)) / 5
}

// begin claims at once, and returns what waits for the claims.
func (c *crew) begin(claim func() ([]claimed, error)) func() ([]claimed, error) {
	var claims []claimed
	var err error
	done := make(chan struct{})
	c.at.Go(func() {
		defer close(done)
		claims, err = claim()
	})
	return func() ([]claimed, error) {
		<-done
		return claims, err
	}
}
