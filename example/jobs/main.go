// Command jobs is a service that works for its customers later: by jobs in
// PostgreSQL (github.com/riverqueue/river), each of which runs for the tenant that
// it was made for, and for nobody else.
//
//	go run ./example/jobs
//
// It starts a private PostgreSQL, signs two customers up, writes an invoice for each
// and sends it by a job, and shows what happens to a job without a tenant.
//
// Read tenancy.go first: it is all that river needs to know of tenants. See also
// docs/jobs.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"time"

	"github.com/riverqueue/river"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/pgserver"
	"github.com/tenantry/tenantry/scope"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := program(ctx, os.Stdout); err != nil {
		log.Print(err)
		os.Exit(1) //nolint:gocritic // stop has nothing to do any more
	}
}

func program(ctx context.Context, out io.Writer) (err error) {
	server, err := pgserver.Start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	s, err := open(ctx, server.DSN())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	return s.demonstrate(ctx, out)
}

// demonstrate does what requests would, and waits for the jobs.
func (s *service) demonstrate(ctx context.Context, out io.Writer) error {
	done, cancel := s.jobs.Subscribe(river.EventKindJobCompleted, river.EventKindJobCancelled)
	defer cancel()
	for _, id := range []string{"acme", "globex"} {
		tenant, err := s.tenants.Create(ctx, catalog.New{ID: id})
		if err != nil {
			return err
		}
		request := scope.With(ctx, tenant.ID) // as the middleware does: package ginmw
		if err := s.issue(request, "An invoice of "+id); err != nil {
			return err
		}
		if err := wait(ctx, done); err != nil {
			return err
		}
		var invoices []Invoice
		if err := s.db.WithContext(request).Find(&invoices).Error; err != nil {
			return err
		}
		_, _ = fmt.Fprintf(out, "%s has %+v\n", id, invoices)
	}
	_, err := s.jobs.Insert(ctx, sendInvoice{InvoiceID: 1}, nil)
	_, _ = fmt.Fprintln(out, "a job without a tenant:", err)
	return nil
}

// wait waits until a job has been worked.
func wait(ctx context.Context, done <-chan *river.Event) error {
	select {
	case event := <-done:
		if event.Kind != river.EventKindJobCompleted {
			return fmt.Errorf("jobs: job %d: %v", event.Job.ID, event.Job.Errors)
		}
		return nil
	case <-time.After(time.Minute):
		return errors.New("jobs: no job was worked in a minute")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
