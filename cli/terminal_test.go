//go:build linux

package cli_test

import (
	"context"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/go-gormigrate/gormigrate/v2"
	"golang.org/x/sys/unix"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/cli"
)

// terminal is a pseudo terminal: what a program sees, and who sits in front of it.
type terminal struct {
	program, user *os.File
	done          chan struct{} // closed when nothing more comes

	mu   sync.Mutex // guards seen
	seen strings.Builder
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(user.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(user.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(user.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: 120}); err != nil {
		t.Fatal(err)
	}
	program, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{program: program, user: user, done: make(chan struct{})}
	go term.watch()
	t.Cleanup(func() { term.hangUp(); user.Close() })
	return term
}

func (term *terminal) watch() {
	defer close(term.done)
	buf := make([]byte, 4096)
	for {
		n, err := term.user.Read(buf)
		term.mu.Lock()
		term.seen.Write(buf[:n])
		term.mu.Unlock()
		if err != nil { // EIO: the program has closed its side
			return
		}
	}
}

// hangUp closes the program's side, and waits until all of it has been seen.
func (term *terminal) hangUp() {
	term.program.Close()
	<-term.done
}

func (term *terminal) text() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.seen.String()
}

// answer waits for a question and types a line.
func (term *terminal) answer(t *testing.T, question, line string) {
	t.Helper()
	until(t, "it asks "+question, func() bool { return strings.Contains(term.text(), question) })
	if _, err := io.WriteString(term.user, line+"\n"); err != nil {
		t.Error(err)
	}
}

// start runs a command line in the terminal. Its output is kept apart.
func (term *terminal) start(ctx context.Context, s *service, args ...string) (ended chan result) {
	ended = make(chan result, 1)
	go func() {
		var out strings.Builder
		root := cli.New(s.app())
		root.SetArgs(args)
		root.SetIn(term.program)
		root.SetErr(term.program)
		root.SetOut(&out)
		code := cli.Execute(ctx, root)
		ended <- result{code: code, out: out.String()}
	}()
	return ended
}

func TestDroppingAsksForTheTenantsID(t *testing.T) {
	t.Parallel()
	s := newService(t)
	id := unique("acme")
	s.create(t, id)
	term := newTerminal(t)
	ended := term.start(t.Context(), s, "tenants", "drop", id)
	term.answer(t, "Type "+id+" to go on: ", "yes")
	(<-ended).mustEnd(t, cli.ExitNotConfirmed)
	s.must(t, "tenants", "show", id)
	mustContain(t, term.text(), "Tenant "+id+" ("+id+", active) will be dropped for ever, with all its data.")

	again := newTerminal(t)
	ended = again.start(t.Context(), s, "tenants", "drop", id)
	again.answer(t, "to go on: ", id)
	r := <-ended
	r.mustEnd(t, cli.ExitOK)
	mustContain(t, r.out, id+" is dropped\n")
}

func TestAQuestionCanBeInterrupted(t *testing.T) {
	t.Parallel()
	s := newService(t)
	id := unique("acme")
	s.create(t, id)
	ctx, cancel := context.WithCancel(t.Context())
	term := newTerminal(t)
	ended := term.start(ctx, s, "tenants", "drop", id)
	until(t, "it asks", func() bool { return strings.Contains(term.text(), "to go on: ") })
	cancel()
	(<-ended).mustEnd(t, cli.ExitInterrupted)
	s.must(t, "tenants", "show", id)
	_, _ = io.WriteString(term.user, "\n") // for whoever still reads
}

func TestATerminalGetsABarWithRateAndTimeLeft(t *testing.T) {
	t.Parallel()
	s, ids := three(t)
	s.migrations = append(first(), failing(ids[1]), noted(), &gormigrate.Migration{
		ID:      "0004_slow", // slower than the bar is drawn
		Migrate: func(tx *gorm.DB) error { return tx.Exec("select pg_sleep(0.2)").Error },
	})
	term := newTerminal(t)
	r := <-term.start(t.Context(), s, "migrate", "up", "--concurrency", "1")
	r.mustEnd(t, cli.ExitTenants)
	term.hangUp()
	mustContain(t, term.text(), "/3  "+ids[1]+"  failed: ")
	if bar := regexp.MustCompile(`tenants +\d+% \|.* +\| \([12]/3, \d+ tenants/(s|min)\) \[\d+s:\d+s\]`); !bar.MatchString(term.text()) {
		t.Errorf("there is no bar in:\n%q", term.text())
	}
	if strings.Contains(term.text(), "0003_notes") {
		t.Errorf("there is a line for each step:\n%q", term.text())
	}
	mustContain(t, r.out, "3 tenants: 2 current (2 changed by this call), 1 failed, 0 not done")
}
