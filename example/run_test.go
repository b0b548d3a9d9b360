package main_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/catalog"
	example "github.com/tenantry/tenantry/example"
	"github.com/tenantry/tenantry/internal/pgserver/dsn"
)

func TestItStartsItsOwnPostgreSQLAndShowsWhatEachCustomerGets(t *testing.T) {
	shielded(t)
	out, err := runOnce(t)
	if err != nil {
		t.Fatalf("%v after:\n%s", err, out)
	}
	mustContain(t, out,
		"starting a private PostgreSQL",
		`"url":"http://acme.localhost:`,
		"acme    plan shared, signed up by Wile E. Coyote",
		"acme    schema acme_",
		"as role acme_",
		"globex  plan own, signed up by Hank Scorpio",
		"globex  schema public in database globex_",
		"acme: 3 invoices, 781.50 in all",
		"globex: 2 invoices, 250239.60 in all",
		"#1   Coyote Enterprises",
		"#1   Springfield Power",
		`404  {"error":"no such invoice"}`,
		`404  {"error":"unknown tenant"}`,
		`404  {"error":"no such page"}`,
		"tenantry: no tenant in context",
		"stopped",
	)
	if strings.Contains(out, "Ctrl-C") {
		t.Error("with -exit there is nothing to stop")
	}
}

func TestTheSecondRunOnADatabaseFindsWhatTheFirstLeft(t *testing.T) {
	t.Parallel()
	dsn := database(t)
	for _, want := range [][]string{
		{"POST  http://localhost:", "to begin with", "acme: 3 invoices", "globex: 2 invoices"},
		{"acme    0 migrations applied", "globex  0 migrations applied", "acme: 4 invoices", "globex: 2 invoices"},
	} {
		out, err := runOnce(t, "-dsn", dsn)
		if err != nil {
			t.Fatalf("%v after:\n%s", err, out)
		}
		mustContain(t, out, append(want, "what customers get there stays")...)
	}
}

func TestItSaysHowToGoOnAndServesUntilItsContextEnds(t *testing.T) {
	t.Parallel()
	p := start(t, database(t))
	_, port, err := net.SplitHostPort(p.addr)
	if err != nil {
		t.Fatal(err)
	}
	mustContain(t, p.output,
		"  http://localhost:"+port+"/\n",
		"  curl http://"+p.addr+"/signup -d '{",
		"  http://acme.localhost:"+port+"/login?key=",
		"  http://globex.localhost:"+port+"/login?key=",
		"  http://localhost:"+port+"/operator/login?token=",
		"  curl -H 'Host: acme.localhost' -H 'Authorization: Bearer ",
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
	for _, text := range []string{"using database", "repairing", "migrating", "to begin with", "serving on", "sign up on", "signed up by", "Who names"} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			mustBeInterrupted(t, text, "-dsn", database(t))
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
	there, err := dsn.Parse(database(t))
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

func TestKeysAreAskedForBeforeAnythingIsDone(t *testing.T) {
	for name, c := range map[string]struct{ keys, want string }{
		"none":  {"", `export TENANTRY_KEYS="k1:$(openssl rand -base64 32)"`},
		"wrong": {"k1:s3cret-word", "key 1 of TENANTRY_KEYS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(catalog.DefaultKeysVariable, c.keys)
			var out strings.Builder
			err := example.Run(t.Context(), []string{"-dsn", "postgres://nobody@127.0.0.1:1/none"}, &out)
			if err == nil {
				t.Fatal("no error")
			}
			mustContain(t, err.Error(), c.want)
			if out.String() != "" || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("got %v after: %s", err, out.String())
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
