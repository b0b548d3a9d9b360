package main

import (
	"fmt"
	"io"
	"time"
)

// progress tells what the program does while it does it.
type progress struct {
	out   io.Writer
	start time.Time
}

func newProgress(out io.Writer) *progress { return &progress{out: out, start: time.Now()} }

// say prints one line behind the time since the start.
func (p *progress) say(format string, args ...any) {
	p.print("%5.1fs  %s\n", time.Since(p.start).Seconds(), fmt.Sprintf(format, args...))
}

func (p *progress) print(format string, args ...any) {
	_, _ = fmt.Fprintf(p.out, format, args...) // without a reader there is nobody to tell
}
