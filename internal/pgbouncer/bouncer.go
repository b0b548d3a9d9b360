package pgbouncer

import (
	"errors"
	"sync"
	"testing"

	"github.com/tenantry/tenantry/internal/pgserver/dsn"
)

const (
	ports       = 5  // how many are tried when others take them first
	maxRestarts = 10 // one that ends more often fails the test
)

// Bouncer is a running PgBouncer. One that ends by itself is started again at the same
// address, as a service manager does: before 1.21 PgBouncer ends itself when the backend of
// a statement that is being cancelled answers at the wrong moment (its issue 822: "server in
// bad state"), and contexts that end cancel statements. Its methods are safe for concurrent use.
type Bouncer struct {
	t       testing.TB
	program string
	config  Config
	addr    string
	watched chan struct{} // closed when nothing starts it again any more

	mu       sync.Mutex // guards what follows
	running  *instance
	stopped  bool
	restarts int
}

// Start starts a PgBouncer that ends when the test does. The test fails where
// the program is missing.
func Start(t testing.TB, c Config) *Bouncer {
	t.Helper()
	program, err := find()
	if err != nil {
		t.Fatal(err)
	}
	for range ports {
		addr, running, err := tryPort(t.Context(), program, c)
		if errors.Is(err, errPortTaken) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		b := &Bouncer{t: t, program: program, config: c, addr: addr, watched: make(chan struct{}), running: running}
		go b.watch(running)
		t.Cleanup(b.stop)
		return b
	}
	t.Fatal(errPortTaken)
	return nil
}

// Addr returns where it listens, host:port.
func (b *Bouncer) Addr() string { return b.addr }

// DSN returns original, the connection string of a database on the target server,
// with PgBouncer's address in place of the server's.
func (b *Bouncer) DSN(original string) string {
	b.t.Helper()
	s, err := dsn.WithAddress(original, b.addr)
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// Restarts returns how often it has ended by itself and was started again. Each time its
// clients have lost their connections, and new ones were refused for a moment.
func (b *Bouncer) Restarts() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.restarts
}

// watch starts it again until it is stopped.
func (b *Bouncer) watch(running *instance) {
	defer close(b.watched)
	for running != nil {
		<-running.process.Done()
		running = b.restart(running)
	}
}

// restart returns what runs in place of the one that has ended, nil for nothing.
func (b *Bouncer) restart(ended *instance) *instance {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped {
		return nil
	}
	b.t.Logf("pgbouncer: it ended by itself: %v%s", ended.process.Err(), ended.log.Quoted())
	if b.restarts == maxRestarts {
		b.t.Errorf("pgbouncer: it has ended %d times, and is not started again", maxRestarts+1)
		return nil
	}
	b.restarts++
	again, err := run(b.program, b.addr, b.config)
	if err != nil {
		b.t.Error(err)
		return nil
	}
	b.running = again
	return again
}

func (b *Bouncer) stop() {
	b.mu.Lock()
	b.stopped = true
	running := b.running
	b.mu.Unlock()
	if err := running.process.Stop(); err != nil {
		b.t.Error(err)
	}
	<-b.watched
}
