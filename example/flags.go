package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/pgserver/dsn"
)

const usageHead = `Usage: go run ./example [flags]
       go run ./example tenants|migrate|psql|exec ... [--dsn connection]

A small invoicing service for whoever signs up, on a subdomain and in a schema or
a database of their own. It starts a private PostgreSQL, signs up two customers,
acme and globex, shows what each of them gets, and serves
http://localhost:8080/ (sign-up), http://acme.localhost:8080/ and
http://globex.localhost:8080/ until Ctrl-C. The commands administer the customers:
see "go run ./example tenants --help".

`

// settings are what the command line says.
type settings struct {
	addr string // where to listen
	dsn  string // of the administrator; empty for a private PostgreSQL
	exit bool   // leave after the demonstration

	servingDSN string // of who serves; empty if that is the administrator
}

func (s *settings) flagSet() *flag.FlagSet {
	set := flag.NewFlagSet("example", flag.ContinueOnError)
	set.StringVar(&s.addr, "addr", "127.0.0.1:8080", "listen on `host:port`; port 0 takes any that is free")
	set.StringVar(&s.dsn, "dsn", "", "use the PostgreSQL database of this `connection` string or URL instead\n"+
		"of a private one; what is made there, and on its server, stays. It must\n"+
		"be an administrator's, and "+catalog.DefaultKeysVariable+" must be set")
	set.StringVar(&s.servingDSN, "serving-dsn", "", "with -dsn: the `connection` string of the login that serves, if that is another\n"+
		"one, see docs/security.md")
	set.BoolVar(&s.exit, "exit", false, "leave after the demonstration")
	set.SetOutput(io.Discard) // errors are printed once, by main
	return set
}

// usageError says what is wrong with the command line.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// parseFlags returns a *usageError, or flag.ErrHelp if help is asked for.
func parseFlags(args []string) (settings, error) {
	var s settings
	set := s.flagSet()
	err := set.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return s, err
	}
	if err == nil {
		err = s.check(set.NArg())
	}
	if err != nil {
		return s, &usageError{err}
	}
	return s, nil
}

// check does not quote what it refuses: a stray argument may be a connection
// string with its password.
func (s *settings) check(stray int) error {
	if stray > 0 {
		return errors.New("there is an argument that belongs to no flag")
	}
	if _, _, err := net.SplitHostPort(s.addr); err != nil {
		return fmt.Errorf("-addr: %w", err)
	}
	return s.checkLogins()
}

func (s *settings) checkLogins() error {
	if s.dsn == "" && s.servingDSN != "" {
		return errors.New("-serving-dsn: it needs -dsn: without it, there is a private PostgreSQL")
	}
	for _, flag := range []struct{ name, value string }{{"-dsn", s.dsn}, {"-serving-dsn", s.servingDSN}} {
		if _, err := dsn.Parse(flag.value); flag.value != "" && err != nil {
			return fmt.Errorf("%s: %w", flag.name, err)
		}
	}
	return nil
}

func usage() string {
	var s settings
	var b strings.Builder
	b.WriteString(usageHead)
	set := s.flagSet()
	set.SetOutput(&b)
	set.PrintDefaults()
	return b.String()
}
