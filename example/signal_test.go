//go:build unix

package main_test

import (
	"bufio"
	"crypto/rand"
	"encoding/base64"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/tenantry/tenantry/catalog"
	example "github.com/tenantry/tenantry/example"
)

// envChild, when set, makes this test binary the example itself.
const envChild = "EXAMPLE_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(envChild) != "" {
		os.Args = []string{"example", "-addr", "127.0.0.1:0"}
		example.Main()
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	_ = os.Setenv(catalog.DefaultKeysVariable, "test:"+base64.StdEncoding.EncodeToString(secret))
	os.Exit(m.Run())
}

func TestASignalEndsItAndNothingIsLeft(t *testing.T) {
	shielded(t)
	for _, c := range []struct {
		signal os.Signal
		at     string
		code   int
	}{
		{os.Interrupt, "Ctrl-C", 0},
		{syscall.SIGTERM, "Ctrl-C", 0},
		{os.Interrupt, serverStep(), 1},
	} {
		t.Run(c.signal.String()+" at "+c.at, func(t *testing.T) {
			temp := tempDir(t)
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), envChild+"=1", "TMPDIR="+temp)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			cmd.Stderr = t.Output()
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			signalAt(t, cmd, bufio.NewScanner(out), c.at, c.signal)
			_ = cmd.Wait() // the exit code says it all
			if code := cmd.ProcessState.ExitCode(); code != c.code {
				t.Errorf("got exit code %d, want %d", code, c.code)
			}
			left, err := os.ReadDir(temp)
			if err != nil || len(left) > 0 {
				t.Errorf("it left %v, %v", left, err)
			}
		})
	}
}

// tempDir returns a directory that the user can enter whom root runs the server as.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// signalAt sends the signal when the output has the text, and reads to its end.
func signalAt(t *testing.T, cmd *exec.Cmd, lines *bufio.Scanner, text string, signal os.Signal) {
	t.Helper()
	sent := false
	for lines.Scan() {
		t.Log(lines.Text())
		if sent || !strings.Contains(lines.Text(), text) {
			continue
		}
		sent = true
		if err := cmd.Process.Signal(signal); err != nil {
			t.Error(err)
		}
	}
	if !sent {
		t.Errorf("the output never had %q", text)
	}
}
