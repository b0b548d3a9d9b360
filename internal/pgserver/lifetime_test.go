//go:build unix

package pgserver_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/pgserver"
	"github.com/tenantry/tenantry/internal/pgserver/dsn"
)

// envEnd, when set, makes this test binary a child that starts a server,
// prints its address and then ends in the way that the variable names.
const envEnd = "PGSERVER_TEST_END"

func TestMain(m *testing.M) {
	if end := os.Getenv(envEnd); end != "" {
		child(end)
	}
	os.Exit(m.Run())
}

func child(end string) {
	caught := make(chan os.Signal, 1)
	if end == "handled" {
		signal.Notify(caught, os.Interrupt)
	}
	s, err := pgserver.Start(context.Background())
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	_, addr, _ := dsn.Address(s.DSN())
	fmt.Println("address", addr)
	switch end {
	case "panic":
		panic("as the test wants")
	case "exit":
		os.Exit(3)
	case "handled":
		<-caught
		fmt.Println("handled", connects(s.DSN()))
		os.Exit(0)
	}
	select {} // until a signal ends us
}

// connects tells whether the server is still there after our signal.
func connects(s string) bool {
	network, addr, _ := dsn.Address(s)
	conn, err := net.Dial(network, addr)
	if err == nil {
		_ = conn.Close()
	}
	return err == nil
}

// process is a child with a directory for temporary files of its own.
type process struct {
	cmd *exec.Cmd
	out *bufio.Reader
	tmp string
}

func startChild(t *testing.T, end string) *process {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.Command(program), tmp: openTemp(t)}
	p.cmd.Env = append(os.Environ(), envEnd+"="+end, "TMPDIR="+p.tmp, pgserver.EnvDSN+"=")
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	return p
}

// openTemp returns a directory that is open to all users, as /tmp is.
func openTemp(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgserver-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	return dir
}

// line returns what follows word on the child's next line.
func (p *process) line(t *testing.T, word string) string {
	t.Helper()
	line, err := p.out.ReadString('\n')
	rest, ok := strings.CutPrefix(line, word+" ")
	if err != nil || !ok {
		t.Fatalf("the child says %q, %v; want %s", line, err, word)
	}
	return strings.TrimSpace(rest)
}

// end reads the rest of the child's output and waits for it.
func (p *process) end() {
	_, _ = io.Copy(io.Discard, p.out)
	_ = p.cmd.Wait()
}

// nothingLeft waits until the server is gone and with it all its files.
func (p *process) nothingLeft(t *testing.T, addr string) {
	t.Helper()
	until(t, "the port is closed", func() bool { return refuses(addr) })
	until(t, "the directory is removed", func() bool { return isEmpty(p.tmp) })
}

func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	limit := time.After(20 * time.Second)
	retry := time.NewTicker(10 * time.Millisecond)
	defer retry.Stop()
	for !condition() {
		select {
		case <-limit:
			t.Fatalf("waited in vain: %s", what)
		case <-retry.C:
		}
	}
}

func isEmpty(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) == 0
}

func TestServerEndsWithItsProcess(t *testing.T) {
	for name, signal := range map[string]syscall.Signal{
		"panic": 0,
		"exit":  0,
		"kill":  syscall.SIGKILL,
		"int":   syscall.SIGINT,
		"term":  syscall.SIGTERM,
		"quit":  syscall.SIGQUIT,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startChild(t, name)
			addr := p.line(t, "address")
			if signal != 0 {
				_ = p.cmd.Process.Signal(signal)
			}
			p.end()
			p.nothingLeft(t, addr)
		})
	}
}

// A terminal sends Ctrl-C to the whole group of processes.
func TestSignalThatTheProgramHandlesLeavesTheServer(t *testing.T) {
	t.Parallel()
	p := startChild(t, "handled")
	addr := p.line(t, "address")
	if err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if p.line(t, "handled") != "true" {
		t.Error("the server ended with the signal, not with its process")
	}
	p.end()
	p.nothingLeft(t, addr)
}

func TestKillDuringTheStartLeavesNothing(t *testing.T) {
	for _, seen := range []string{"*/data", "*/data/PG_VERSION", "*/data/postmaster.pid"} {
		t.Run(seen, func(t *testing.T) {
			t.Parallel()
			p := startChild(t, "kill")
			until(t, seen+" exists", func() bool {
				found, _ := filepath.Glob(filepath.Join(p.tmp, "tenantry-pg-"+seen))
				return len(found) > 0
			})
			_ = p.cmd.Process.Kill()
			p.end()
			until(t, "the directory is removed", func() bool { return isEmpty(p.tmp) })
		})
	}
}
