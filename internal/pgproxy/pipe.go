package pgproxy

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	chunkSize = 32 << 10
	queueSize = 256 // chunks on the way; more make the sender wait

	timerSlack = 1500 * time.Microsecond
)

// chunk is what one read returned, and when it may arrive.
type chunk struct {
	bytes []byte
	due   time.Time
}

// pipe forwards one direction of a connection.
type pipe struct {
	from, to net.Conn
	bytes    *atomic.Int64
	seen     func([]byte) // called when bytes are sent; nil for nothing
	due      func([]byte) // called just before they arrive; nil for nothing
	delay    time.Duration
	stopped  <-chan struct{}
}

// run forwards until the sender closes its side, then closes the receiver's.
func (p pipe) run() {
	queue := make(chan chunk, queueSize)
	var reader sync.WaitGroup
	reader.Go(func() { p.read(queue) })
	p.write(queue)
	reader.Wait()
}

func (p pipe) read(queue chan<- chunk) {
	defer close(queue)
	buf := make([]byte, chunkSize)
	for {
		n, err := p.from.Read(buf)
		if n > 0 {
			p.bytes.Add(int64(n))
			call(p.seen, buf[:n])
			queue <- chunk{append([]byte(nil), buf[:n]...), time.Now().Add(p.delay)}
		}
		if err != nil {
			return
		}
	}
}

// write forwards what is in queue until it is closed. When the receiver is gone,
// it closes both sides, which ends the reader, and empties the queue.
func (p pipe) write(queue <-chan chunk) {
	defer closeWrite(p.to)
	for c := range queue {
		p.wait(c.due)
		call(p.due, c.bytes)
		if _, err := p.to.Write(c.bytes); err != nil {
			_ = p.from.Close()
			_ = p.to.Close()
			for range queue {
			}
			return
		}
	}
}

// wait returns at due or, if that is earlier, when the proxy stops. The runtime's
// timers may be a millisecond late in a process that has nothing else to do, which
// is more than a short delay: the rest is slept.
func (p pipe) wait(due time.Time) {
	if left := time.Until(due) - timerSlack; left > 0 {
		timer := time.NewTimer(left)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-p.stopped:
			return
		}
	}
	sleep(time.Until(due))
}

func call(f func([]byte), b []byte) {
	if f != nil {
		f(b)
	}
}

// closeWrite tells the receiver that no more comes; the other direction stays.
func closeWrite(c net.Conn) {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
		return
	}
	_ = c.Close()
}
