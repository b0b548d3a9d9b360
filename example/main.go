// Command example is a small invoicing service for whoever signs up: a customer
// picks a subdomain and a plan, gets a PostgreSQL schema or a database of its own,
// and is served on that subdomain from the next request on.
//
//	go run ./example
//
// It starts a private PostgreSQL, signs two customers up, acme and globex, sends
// itself a few requests to show what each of them gets, and serves until Ctrl-C.
//
//	go run ./example tenants list
//
// runs one of the commands of package cli instead, see commands.go.
//
// To see how a service uses tenantry, read backend.go, migrations.go, prepare.go,
// routes.go, signup.go and handlers.go, in this order.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	slog.SetLogLoggerLevel(slog.LevelWarn) // the rest would run into the demonstration
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(program(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// report prints err, if it is one, and returns the exit code for it.
func report(err error, to io.Writer) int {
	if err == nil {
		return 0
	}
	_, _ = fmt.Fprintf(to, "example: %v\n", err)
	var wrong *usageError
	if errors.As(err, &wrong) {
		_, _ = fmt.Fprintf(to, "\n%s", usage())
		return 2
	}
	return 1
}
