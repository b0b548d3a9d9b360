package tenanttest_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/tenanttest"
)

// The tests here run this test program again, as a process of its own that does not end
// as it should. In that process these are set:
const (
	envDSN = "TENANTTEST_DSN"
	envEnd = "TENANTTEST_END"
)

// again is the test that name says, in another process.
func again(t *testing.T, dsn, end string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), envDSN+"="+dsn, envEnd+"="+end)
	return cmd
}

// child opens what the other process needs. Nobody closes the factory.
func child(t *testing.T) *tenanttest.Factory {
	f, err := tenanttest.New(open(t, os.Getenv(envDSN), plugin.BySchema()), migrations())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestNothingIsLeftAfterFailures(t *testing.T) {
	if end := os.Getenv(envEnd); end != "" {
		f := child(t)
		t.Run("before", func(t *testing.T) { f.Tenant(t) })
		f.Tenant(t)
		t.Run("sub", func(t *testing.T) {
			f.Tenant(t)
			if end == "panic" {
				panic("as it should")
			}
			t.FailNow()
		})
		return
	}
	for _, end := range []string{"FailNow", "panic"} {
		dsn := pgtest.Database(t)
		out, err := again(t, dsn, end).CombinedOutput()
		if err == nil || strings.Contains(string(out), "tenanttest:") || (end == "panic") != strings.Contains(string(out), "panic: as it should") {
			t.Errorf("%s: %v\n%s", end, err, out)
		}
		if left := schemas(t, dsn); len(left) > 0 {
			t.Errorf("%s left %q", end, left)
		}
	}
}

func TestTheNextProcessDropsWhatAKilledOneLeft(t *testing.T) {
	if os.Getenv(envEnd) != "" {
		f := child(t)
		t.Run("before", func(t *testing.T) { f.Tenant(t); f.Tenant(t) })
		f.Tenant(t)
		fmt.Println("ready")
		_, _ = io.Copy(io.Discard, os.Stdin) // until it is killed
		return
	}
	dsn := pgtest.Database(t)
	cmd := again(t, dsn, "kill")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatal(line, err)
	}
	ask[string](t, dsn, "create schema tenant_mine")
	ask[string](t, dsn, "comment on schema tenant_mine is 'tenanttest is what I use'")
	of := schemas(t, dsn)
	if len(of) != 3 {
		t.Fatalf("schemas %q", of)
	}
	renew := func() {
		f, err := tenanttest.New(open(t, dsn, plugin.BySchema()), migrations())
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	renew()
	if now := schemas(t, dsn); !slices.Equal(of, now) {
		t.Errorf("while the other process lived, %q became %q", of, now)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	for len(ask[int64](t, dsn, "select 1::int8 from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())")) > 0 {
		// the server has yet to see that it is gone
	}
	renew()
	if now := schemas(t, dsn); !slices.Equal(now, []string{"tenant_mine"}) {
		t.Errorf("after the other process was killed, %q became %q", of, now)
	}
}
