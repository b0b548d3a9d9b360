//go:build unix

package watchdog_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/pgserver/watchdog"
)

func newDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "watchdog-") // t.TempDir is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func start(t *testing.T, c watchdog.Command) *watchdog.Process {
	t.Helper()
	p, err := watchdog.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Stop() })
	return p
}

func TestStopEndsTheProgramAndRemovesItsDirectory(t *testing.T) {
	dir := newDir(t)
	p := start(t, watchdog.Command{Dir: dir, Run: []string{"sleep", "600"}})
	for range 2 {
		if err := p.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	gone(t, dir)
}

func TestProgramThatEndsByItselfIsSeen(t *testing.T) {
	dir := newDir(t)
	var log bytes.Buffer
	p := start(t, watchdog.Command{Dir: dir, Run: []string{"sh", "-c", `echo "it's $0"; exit 7`, `a'b c`}, Log: &log})
	<-p.Done()
	if p.Err() == nil || !strings.Contains(p.Err().Error(), "7") {
		t.Errorf("got %v, want exit status 7", p.Err())
	}
	if got := log.String(); got != "it's a'b c\n" {
		t.Errorf("got log %q", got)
	}
	gone(t, dir)
	if err := p.Stop(); err != nil {
		t.Errorf("stop afterwards: %v", err)
	}
}

func TestProgramIsNotRunWhenTheOneBeforeFails(t *testing.T) {
	var log bytes.Buffer
	p := start(t, watchdog.Command{Dir: newDir(t), Before: []string{"false"}, Run: []string{"echo", "it ran"}, Log: &log})
	<-p.Done()
	if p.Err() == nil || log.Len() > 0 {
		t.Errorf("got error %v and log %q", p.Err(), &log)
	}
}

func TestMissingDirectoryIsAnError(t *testing.T) {
	if _, err := watchdog.Start(watchdog.Command{Dir: "/does/not/exist", Run: []string{"true"}}); err == nil {
		t.Fatal("no error")
	}
}

func gone(t *testing.T, dir string) {
	t.Helper()
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the directory is still there: %v", err)
	}
}
