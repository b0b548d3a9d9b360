package pgbouncer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/internal/pgserver/dsn"
	"github.com/tenantry/tenantry/internal/pgserver/watchdog"
)

// EnvProgram is the environment variable that names the program. Unset, it is
// looked for on PATH and in /usr/sbin.
const EnvProgram = "TENANTRY_PGBOUNCER"

const (
	iniFile   = "pgbouncer.ini"
	usersFile = "users.txt"
	ports     = 5 // how many are tried when others take them first
)

// errPortTaken says that another process took the port before PgBouncer could.
var errPortTaken = errors.New("pgbouncer: the port was taken")

// Bouncer is a running PgBouncer. Its methods are safe for concurrent use.
type Bouncer struct {
	t       testing.TB
	addr    string
	process *watchdog.Process
	log     *watchdog.Tail
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
		b, err := tryPort(t.Context(), program, c)
		if errors.Is(err, errPortTaken) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		b.t = t
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

func (b *Bouncer) stop() {
	if err := b.process.Stop(); err != nil {
		b.t.Error(err)
	}
}

// find returns the absolute path of the program.
func find() (string, error) {
	if named := os.Getenv(EnvProgram); named != "" {
		program, err := exec.LookPath(named)
		if err != nil {
			return "", fmt.Errorf("pgbouncer: %s: %w", EnvProgram, err)
		}
		return filepath.Abs(program)
	}
	for _, name := range []string{"pgbouncer", "/usr/sbin/pgbouncer"} {
		if program, err := exec.LookPath(name); err == nil {
			return filepath.Abs(program)
		}
	}
	return "", fmt.Errorf(`pgbouncer: the program is neither on PATH nor in /usr/sbin: install it ("apt-get install pgbouncer"), or set %s to its path`, EnvProgram)
}

func tryPort(ctx context.Context, program string, c Config) (*Bouncer, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	b, err := run(program, addr, c)
	if err != nil {
		return nil, err
	}
	through, err := dsn.WithAddress(c.Target, addr)
	if err == nil {
		err = b.ready(ctx, through)
	}
	if err != nil {
		return nil, errors.Join(err, b.process.Stop())
	}
	return b, nil
}

// freeAddress returns an address on loopback with a port that was free just now.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("pgbouncer: find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// run starts the program in a new directory. t.TempDir would be closed to the
// user that root runs it as.
func run(program, addr string, c Config) (*Bouncer, error) {
	dir, err := os.MkdirTemp("", "tenantry-pgbouncer-")
	if err != nil {
		return nil, fmt.Errorf("pgbouncer: %w", err)
	}
	log := &watchdog.Tail{}
	err = c.write(dir, addr)
	var process *watchdog.Process
	if err == nil {
		process, err = watchdog.Start(watchdog.Command{Dir: dir, Run: []string{program, filepath.Join(dir, iniFile)}, Log: log})
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &Bouncer{addr: addr, process: process, log: log}, nil
}

func (c Config) write(dir, addr string) error {
	files, err := c.files(dir, addr)
	if err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("pgbouncer: %w", err)
		}
	}
	return nil
}

// ready waits until the target answers through b.
func (b *Bouncer) ready(ctx context.Context, through string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	retry := time.NewTicker(10 * time.Millisecond)
	defer retry.Stop()
	for {
		err := ping(ctx, through)
		if err == nil {
			return nil
		}
		select {
		case <-b.process.Done():
			return b.ended()
		case <-ctx.Done():
			return fmt.Errorf("pgbouncer: the target does not answer through it: %w%s", err, b.log.Quoted())
		case <-retry.C:
		}
	}
}

// ping asks through the pool: PgBouncer accepts a client before it has a server.
func ping(ctx context.Context, through string) error {
	conn, err := pgx.Connect(ctx, through)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	return conn.Ping(ctx)
}

// ended says why the program ended before it answered.
func (b *Bouncer) ended() error {
	if strings.Contains(b.log.String(), "Address already in use") {
		return fmt.Errorf("%w%s", errPortTaken, b.log.Quoted())
	}
	return fmt.Errorf("pgbouncer: it ended while it started: %w%s", b.process.Err(), b.log.Quoted())
}
