package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == lineArgument {
		exit(serveLine(os.Args[2:], os.Stdin, os.Stdout))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second interrupt ends the program at once; its server ends with it
	exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func exit(err error) {
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(0)
	case err != nil:
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// errInterrupted says that the run was ended from outside. What was measured until then has
// been written.
var errInterrupted = errors.New("bench: interrupted")

// run is the program. Results go to stdout and into files, progress to stderr.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	c, err := parse(args, stderr)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.out, 0o755); err != nil {
		return fmt.Errorf("bench: -out: %w", err)
	}
	return c.run(ctx, stdout, stderr)
}

func (c config) run(ctx context.Context, stdout, stderr io.Writer) (err error) {
	r := &runner{config: c, stdout: stdout, progress: newProgress(stderr)}
	r.progress.tell("about %s for everything; Ctrl-C ends it with what there is", c.estimate())
	defer func() {
		err = errors.Join(err, r.stop())
		if ctx.Err() != nil {
			err = errInterrupted // of which all others are consequences
		}
	}()
	if err := r.start(ctx); err != nil {
		return err
	}
	switch {
	case c.memory:
		return r.compareMemory(ctx)
	case c.greedy:
		return r.overLines(ctx, r.measureFairness)
	}
	return r.comparePatterns(ctx)
}
