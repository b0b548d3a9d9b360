// Command example is a small invoicing service with two customers, acme and
// globex, each on a subdomain and in a PostgreSQL schema of its own.
//
//	go run ./example
//
// It starts a private PostgreSQL, migrates both customers, sends itself a few
// requests to show what each of them gets, and serves until Ctrl-C.
//
// To see how a service uses tenantry, read database.go, migrations.go,
// routes.go and handlers.go, in this order.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(report(run(ctx, os.Args[1:], os.Stdout), os.Stderr))
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
