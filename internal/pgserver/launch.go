package pgserver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tenantry/tenantry/internal/pgserver/dsn"
	"github.com/tenantry/tenantry/internal/pgserver/watchdog"
	"github.com/tenantry/tenantry/internal/scram"
)

const (
	superuser  = "postgres"
	startLimit = 60 * time.Second // when ctx sets no earlier one
	ports      = 5                // how many are tried when others take them first
)

// errPortTaken says that another process took the port between our choice and
// the server's start.
var errPortTaken = errors.New("pgserver: the port was taken")

// launch starts a server of our own.
func (c *config) launch(ctx context.Context, p programs) (*Server, error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	c.logf("starting PostgreSQL %s from %s", p.version, p.dir)
	for range ports - 1 {
		s, err := c.tryPort(ctx, p)
		if !errors.Is(err, errPortTaken) {
			return s, err
		}
	}
	return c.tryPort(ctx, p)
}

func (c *config) tryPort(ctx context.Context, p programs) (*Server, error) {
	addr, err := watchdog.FreeAddress()
	if err != nil {
		return nil, err
	}
	s, dir, err := c.run(p, addr)
	if err != nil {
		return nil, err
	}
	if err := s.ready(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	if err := os.Remove(passwordFile(dir)); err != nil {
		return nil, errors.Join(fmt.Errorf("pgserver: %w", err), s.Stop())
	}
	return s, nil
}

// rounds is one, as a random password needs no more. With PostgreSQL's default of 4096, logins
// were a third of what the isolation test cost: tests open connections by the ten thousand.
const rounds = 1

// run starts initdb and then the server in a new directory. A random password
// keeps other users of this machine out; what the server stores of it goes to initdb in a
// file because everybody can read a program's arguments.
func (c *config) run(p programs, addr string) (*Server, string, error) {
	dir, err := os.MkdirTemp("", "tenantry-pg-")
	if err != nil {
		return nil, "", fmt.Errorf("pgserver: %w", err)
	}
	password, log := rand.Text(), &watchdog.Tail{}
	stored, err := scram.Verifier(password, rounds)
	if err == nil {
		err = os.WriteFile(passwordFile(dir), []byte(stored), 0o600)
	}
	if err != nil {
		return nil, "", errors.Join(fmt.Errorf("pgserver: %w", err), os.RemoveAll(dir))
	}
	process, err := watchdog.Start(watchdog.Command{
		Dir:    dir,
		Before: p.initdb(dir),
		Run:    p.postgres(dir, addr, c.settings),
		Log:    log,
	})
	if err != nil {
		return nil, "", errors.Join(fmt.Errorf("pgserver: %w", err), os.RemoveAll(dir))
	}
	return &Server{dsn: dsn.URL(addr, superuser, password, "postgres"), process: process, log: log}, dir, nil
}

func passwordFile(dir string) string { return filepath.Join(dir, "password") }

func dataDir(dir string) string { return filepath.Join(dir, "data") }

// initdb returns the command line that makes the data directory.
func (p programs) initdb(dir string) []string {
	return []string{
		filepath.Join(p.dir, "initdb"),
		"--pgdata=" + dataDir(dir),
		"--username=" + superuser,
		"--pwfile=" + passwordFile(dir),
		"--auth=password", // on loopback: it saves a round trip
		"--encoding=UTF8",
		"--locale=C",
		"--no-sync",
	}
}

// postgres returns the command line of the server.
func (p programs) postgres(dir, addr string, settings []setting) []string {
	host, port, _ := net.SplitHostPort(addr) // it is ours
	own := []setting{
		{"listen_addresses", host},
		{"port", port},
		{"unix_socket_directories", ""},
		{"logging_collector", "off"},
	}
	args := []string{filepath.Join(p.dir, "postgres"), "-D", dataDir(dir)}
	for _, s := range append(settings[:len(settings):len(settings)], own...) {
		args = append(args, "-c", s.name+"="+s.value)
	}
	return args
}

// ready waits until the server answers. It returns early when the server ends.
func (s *Server) ready(ctx context.Context) error {
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for {
		err := ping(ctx, s.dsn, 5*time.Second)
		if err == nil {
			return nil
		}
		select {
		case <-s.process.Done():
			return s.ended()
		case <-ctx.Done():
			return fmt.Errorf("pgserver: the server did not answer in time: %w (last try: %w)%s", ctx.Err(), err, s.log.Quoted())
		case <-retry.C:
		}
	}
}

// ended says why the server ended before it answered.
func (s *Server) ended() error {
	if strings.Contains(s.log.String(), "could not bind") {
		return fmt.Errorf("%w%s", errPortTaken, s.log.Quoted())
	}
	return fmt.Errorf("pgserver: the server ended while it started: %w%s", s.process.Err(), s.log.Quoted())
}
