package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progress writes lines, not more than a few a minute. It is safe for concurrent use.
type progress struct {
	to    io.Writer
	start time.Time

	mu   sync.Mutex // guards last
	last time.Time
}

const progressEvery = 10 * time.Second

func newProgress(to io.Writer) *progress { return &progress{to: to, start: time.Now()} }

// say writes a line unless another one was written just now.
func (p *progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.last) < progressEvery {
		return
	}
	p.write(format, args...)
}

// tell writes a line in any case.
func (p *progress) tell(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.write(format, args...)
}

func (p *progress) write(format string, args ...any) {
	p.last = time.Now()
	_, _ = fmt.Fprintf(p.to, "bench: %5s: %s\n", time.Since(p.start).Round(time.Second), fmt.Sprintf(format, args...))
}
