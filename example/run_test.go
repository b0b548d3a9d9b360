package main_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	example "github.com/tenantry/tenantry/example"
	"github.com/tenantry/tenantry/internal/pgserver/dsn"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
)

func TestItStartsItsOwnPostgreSQLAndShowsWhatEachCustomerGets(t *testing.T) {
	shielded(t)
	out, err := runOnce(t)
	if err != nil {
		t.Fatalf("%v after:\n%s", err, out)
	}
	mustContain(t, out,
		"starting a private PostgreSQL",
		"schema tenant_acme, 3 migrations applied",
		"schema tenant_globex, 3 migrations applied",
		"acme: 3 invoices, 781.50 in all",
		"globex: 2 invoices, 250239.60 in all",
		"#1   Coyote Enterprises",
		"#1   Springfield Power",
		`404  {"error":"no such invoice"}`,
		`404  {"error":"unknown tenant"}`,
		`400  {"error":"no tenant named"}`,
		"tenantry: no tenant in context",
		"stopped",
	)
	if strings.Contains(out, "Ctrl-C") {
		t.Error("with -exit there is nothing to stop")
	}
}

func TestTheSecondRunOnADatabaseFindsWhatTheFirstLeft(t *testing.T) {
	t.Parallel()
	database := pgtest.Database(t)
	for _, want := range [][]string{
		{"3 migrations applied", "to begin with", "acme: 3 invoices", "globex: 2 invoices"},
		{"0 migrations applied", "acme: 4 invoices", "globex: 2 invoices"},
	} {
		out, err := runOnce(t, "-dsn", database)
		if err != nil {
			t.Fatalf("%v after:\n%s", err, out)
		}
		mustContain(t, out, append(want, "the schemas tenant_acme and tenant_globex stay there")...)
	}
}

func TestItSaysHowToGoOnAndServesUntilItsContextEnds(t *testing.T) {
	t.Parallel()
	p := start(t, pgtest.Database(t))
	_, port, err := net.SplitHostPort(p.addr)
	if err != nil {
		t.Fatal(err)
	}
	mustContain(t, p.output,
		"  http://acme.localhost:"+port+"/\n",
		"  http://globex.localhost:"+port+"/\n",
		"  curl -H 'Host: acme.localhost' http://"+p.addr+"/invoices\n",
	)
	if status, body := p.do(t, "GET", "acme", "/", ""); status != 200 {
		t.Errorf("got %d %s", status, body)
	}
	if err := p.stop(); err != nil {
		t.Errorf("got %v, want a clean end", err)
	}
	if c, err := net.Dial("tcp", p.addr); err == nil {
		c.Close()
		t.Error("it still listens")
	}
}

func TestATakenPortIsAnErrorBeforeAnythingIsStarted(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	var out strings.Builder
	err = example.Run(t.Context(), []string{"-addr", taken.Addr().String()}, &out)
	if err == nil {
		t.Fatal("no error")
	}
	mustContain(t, err.Error(), taken.Addr().String(), "choose another address with -addr")
	if out.String() != "" {
		t.Errorf("it began: %s", out.String())
	}
}

// stopAt cancels when the output has the text.
type stopAt struct {
	text   string
	cancel context.CancelFunc
}

func (s stopAt) Write(p []byte) (int, error) {
	if strings.Contains(string(p), s.text) {
		s.cancel()
	}
	return len(p), nil
}

func TestItCanBeInterruptedAtEveryStep(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"using database", "migrating", "to begin with", "serving on", "Who names"} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			mustBeInterrupted(t, text, "-dsn", pgtest.Database(t))
		})
	}
}

func TestItCanBeInterruptedWhileItsOwnPostgreSQLStarts(t *testing.T) {
	shielded(t)
	mustBeInterrupted(t, serverStep())
}

func mustBeInterrupted(t *testing.T, text string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := example.Run(ctx, append([]string{"-addr", "127.0.0.1:0"}, args...), stopAt{text, cancel})
	if !errors.Is(err, example.Interrupted()) {
		t.Errorf("got %v, want %v", err, example.Interrupted())
	}
}

func TestNoOutputAndNoErrorHoldsThePassword(t *testing.T) {
	t.Parallel()
	const password = "s3cret-word"
	there, err := dsn.Parse(pgtest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for name, args := range map[string][]string{
		"a wrong password":    {"-dsn", fmt.Sprintf("host='%s' port=%d user='%s' dbname='%s' password=%s", there.Host, there.Port, there.User, there.Database, password)},
		"nobody there":        {"-dsn", dsn.URL(closed.Addr().String(), "postgres", password, "postgres")},
		"a malformed URL":     {"-dsn", "postgres://postgres:" + password + "@host:port/"},
		"a forgotten flag":    {"postgres://postgres:" + password + "@127.0.0.1/"},
		"a misspelled flag":   {"-dns=postgres://postgres:" + password + "@127.0.0.1/"},
		"a malformed address": {"-dsn", "host=127.0.0.1 password=" + password, "-addr", "nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			err := example.Run(t.Context(), append([]string{"-addr", "127.0.0.1:0", "-exit"}, args...), &out)
			example.Report(err, &out)
			if strings.Contains(out.String(), password) {
				t.Errorf("the password is in:\n%s", out.String())
			}
		})
	}
}

func TestAWrongCommandLineEndsWithTheUsage(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"unknown flag":      {"-port", "80"},
		"stray argument":    {"-exit", "now"},
		"address":           {"-addr", "8080"},
		"connection string": {"-dsn", "postgres://host:port/"},
		"no value":          {"-addr"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			if code := example.Report(example.Run(t.Context(), args, io.Discard), &out); code != 2 {
				t.Errorf("got exit code %d, want 2", code)
			}
			mustContain(t, out.String(), "example: ", "Usage: go run ./example", "-addr host:port", "-dsn connection", "-exit")
		})
	}
}

func TestHelpIsNoError(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	if err := example.Run(t.Context(), []string{"-h"}, &out); err != nil {
		t.Fatal(err)
	}
	mustContain(t, out.String(), "Usage: go run ./example", "-addr host:port", "-dsn connection", "-exit")
}

func TestOtherErrorsEndWithCodeOne(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	if code := example.Report(errors.New("no luck"), &out); code != 1 || out.String() != "example: no luck\n" {
		t.Errorf("got %d and %q", code, out.String())
	}
	if code := example.Report(nil, &out); code != 0 {
		t.Errorf("got %d for no error", code)
	}
}
