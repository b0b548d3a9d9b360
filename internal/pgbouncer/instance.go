package pgbouncer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
)

// errPortTaken says that another process took the port before PgBouncer could.
var errPortTaken = errors.New("pgbouncer: the port was taken")

// instance is one run of the program.
type instance struct {
	process *watchdog.Process
	log     *watchdog.Tail
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

// tryPort starts the program at a new address, which it returns, and waits until it answers.
func tryPort(ctx context.Context, program string, c Config) (string, *instance, error) {
	addr, err := watchdog.FreeAddress()
	if err != nil {
		return "", nil, err
	}
	i, err := run(program, addr, c)
	if err != nil {
		return "", nil, err
	}
	through, err := dsn.WithAddress(c.Target, addr)
	if err == nil {
		err = i.ready(ctx, through)
	}
	if err != nil {
		return "", nil, errors.Join(err, i.process.Stop())
	}
	return addr, i, nil
}

// run starts the program in a new directory. t.TempDir would be closed to the
// user that root runs it as.
func run(program, addr string, c Config) (*instance, error) {
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
	return &instance{process: process, log: log}, nil
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

// ready waits until the target answers through it.
func (i *instance) ready(ctx context.Context, through string) error {
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
		case <-i.process.Done():
			return i.ended()
		case <-ctx.Done():
			return fmt.Errorf("pgbouncer: the target does not answer through it: %w%s", err, i.log.Quoted())
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
func (i *instance) ended() error {
	if strings.Contains(i.log.String(), "Address already in use") {
		return fmt.Errorf("%w%s", errPortTaken, i.log.Quoted())
	}
	return fmt.Errorf("pgbouncer: it ended while it started: %w%s", i.process.Err(), i.log.Quoted())
}
