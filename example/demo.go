package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"gorm.io/gorm"

	"github.com/tenantry/tenantry/scope"
)

// maxShown is how many lines of an answer are printed.
const maxShown = 5

// oneMore is the body of the request that creates an invoice.
const oneMore = `{"company":"Road Runner Ltd","lines":[{"text":"Birthday cake","quantity":1,"price_cents":4200}]}`

// demo shows on the output what each customer gets.
type demo struct {
	*progress
	*visitor
	db *gorm.DB
}

// show sends the requests and prints what came back. An answer that should have
// been another one is an error.
func (d *demo) show(ctx context.Context) error {
	d.print("\nEach customer sees its own rows.\n")
	for _, host := range []string{"acme.localhost", "globex.localhost"} {
		for _, path := range []string{"/", "/invoices"} {
			if _, err := d.request(ctx, "GET", host, path, "", http.StatusOK); err != nil {
				return err
			}
		}
	}
	d.print("\nA new invoice of acme is not there for globex.\n")
	if err := d.showOther(ctx); err != nil {
		return err
	}
	d.print("\nWho names no customer gets no rows.\n")
	if _, err := d.request(ctx, "GET", "initech.localhost", "/invoices", "", http.StatusNotFound); err != nil {
		return err
	}
	if _, err := d.request(ctx, "GET", "localhost", "/invoices", "", http.StatusBadRequest); err != nil {
		return err
	}
	return d.forget()
}

// showOther creates an invoice for acme and lets globex ask for it.
func (d *demo) showOther(ctx context.Context) error {
	a, err := d.request(ctx, "POST", "acme.localhost", "/invoices", oneMore, http.StatusCreated)
	if err != nil {
		return err
	}
	created, err := a.invoice()
	if err != nil {
		return err
	}
	path := fmt.Sprintf("/invoices/%d", created.ID)
	acmes, err := d.request(ctx, "GET", "acme.localhost", path, "", http.StatusOK)
	if err != nil {
		return err
	}
	// Where globex has written as many invoices it has one of this number, too.
	globexs, err := d.request(ctx, "GET", "globex.localhost", path, "", http.StatusNotFound, http.StatusOK)
	if err == nil && bytes.Equal(acmes.body, globexs.body) {
		err = errors.New("globex was given an invoice of acme")
	}
	return err
}

// forget does what code does that forgets to pass the context on.
func (d *demo) forget() error {
	var invoices []Invoice
	err := d.db.Find(&invoices).Error
	if !errors.Is(err, scope.ErrNone) {
		return fmt.Errorf("db.Find without a context should end with %q, but ended with %v", scope.ErrNone, err) //nolint:errorlint // it may be nil
	}
	d.print("  code that forgets the context: db.Find(&invoices)\n    %v\n", err)
	return nil
}

// request sends one request and prints the answer, which must have one of the
// statuses in want.
func (d *demo) request(ctx context.Context, method, host, path, body string, want ...int) (answer, error) {
	a, err := d.send(ctx, method, host, path, body)
	if err != nil {
		return a, err
	}
	shown := a.lines()
	if more := len(shown) - maxShown; more > 0 {
		shown = append(shown[:maxShown], fmt.Sprintf("and %d more", more))
	}
	head := fmt.Sprintf("  %-4s  %-42s  %d  ", method, d.url(host, path), a.status)
	d.print("%s%s\n", head, strings.Join(shown, "\n"+strings.Repeat(" ", len(head))))
	if !slices.Contains(want, a.status) {
		return a, fmt.Errorf("%s %s was answered with status %d, want %v", method, d.url(host, path), a.status, want)
	}
	return a, nil
}

// explain says how to go on.
func (d *demo) explain() {
	if d.onLoopback() {
		d.print("\nTry it in a browser:\n  %s\n  %s\n", d.url("acme.localhost", "/"), d.url("globex.localhost", "/"))
	}
	d.print("\nTry it with curl:\n")
	for _, c := range []struct{ host, more string }{
		{"acme.localhost", ""},
		{"globex.localhost", ""},
		{"globex.localhost", " -d '" + oneMore + "'"},
	} {
		d.print("  curl -H 'Host: %s' http://%s/invoices%s\n", c.host, d.addr, c.more)
	}
	d.print("\nCtrl-C stops it.\n")
}
