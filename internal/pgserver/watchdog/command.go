package watchdog

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// stopLimit is how long Stop waits. PostgreSQL itself kills what is left after
// five seconds of an immediate shutdown; to remove the files of 10,000 schemas takes a busy
// machine minutes.
const stopLimit = 10 * time.Minute

// Command says what to run. All programs get the absolute path or are found on
// PATH; their standard input is empty.
type Command struct {
	Dir    string    // a directory that belongs to the program; removed with everything in it when the program ends
	Before []string  // a program and its arguments that is run first, to its end; nil for none
	Run    []string  // the program and its arguments; it must stay in the foreground
	Log    io.Writer // what the programs write; nil discards it
}

// Process is a running program. Its methods are safe for concurrent use.
type Process struct {
	dir  string
	end  func() error  // asks the program to end; called once
	done chan struct{} // closed when the program has ended
	err  error         // how it ended; read after done only
	stop func() error
}

// Start hands c.Dir over to the user that the program runs as (see
// [Unprivileged]), runs c.Before and, if that succeeds, c.Run. It does not wait
// for either. If it returns an error nothing runs and the directory stays.
func Start(c Command) (*Process, error) {
	if _, err := os.Stat(c.Dir); err != nil {
		return nil, fmt.Errorf("watchdog: %w", err)
	}
	p := &Process{dir: c.Dir, done: make(chan struct{})}
	p.stop = sync.OnceValue(p.shutDown)
	if err := p.start(c); err != nil {
		return nil, err
	}
	return p, nil
}

// Done is closed when the program has ended, for whatever reason.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err returns how the program ended, nil for success. It is nil while the program runs.
func (p *Process) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// Stop ends the program at once, without a chance to finish its work, waits for
// that and removes the directory. Further calls return the first one's result.
func (p *Process) Stop() error { return p.stop() }

func (p *Process) shutDown() error {
	if err := p.end(); err != nil {
		return fmt.Errorf("watchdog: stop: %w", err)
	}
	select {
	case <-p.done:
	case <-time.After(stopLimit):
		return fmt.Errorf("watchdog: the program still runs %s after it was stopped", stopLimit)
	}
	if err := os.RemoveAll(p.dir); err != nil {
		return fmt.Errorf("watchdog: remove directory: %w", err)
	}
	return nil
}

// wait closes done when cmd has ended. It holds cmd and with it the pipe: a
// caller that drops the Process keeps its program.
func (p *Process) wait(cmd *exec.Cmd) {
	err := cmd.Wait()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // only the log was cut short
	}
	p.err = err
	close(p.done)
}
