package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/scope"
)

// maxShown is how many lines of an answer are printed.
const maxShown = 5

// nobody is a subdomain that no customer can have.
const nobody = "nobody"

// oneMore is the body of the request that creates an invoice.
const oneMore = `{"company":"Road Runner Ltd","lines":[{"text":"Birthday cake","quantity":1,"price_cents":4200}]}`

// anotherOne is the body of a request that signs a customer up.
const anotherOne = `{"company":"Initech","contact":"Bill Lumbergh","email":"bill@initech.example","subdomain":"initech","plan":"own"}`

// demo shows on the output what each customer gets.
type demo struct {
	*progress
	*visitor
	backend *backend
}

// show sends the requests and prints what came back. An answer that should have
// been another one is an error.
func (d *demo) show(ctx context.Context) error {
	d.print("\nCustomers sign up on the bare domain.\n")
	for _, in := range customers() {
		if err := d.showSignup(ctx, in); err != nil {
			return err
		}
	}
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
	d.print("\nThe key of one customer opens nothing of another.\n")
	if err := d.showWrongKey(ctx); err != nil {
		return err
	}
	d.print("\nWho names no customer gets no rows.\n")
	for _, host := range []string{nobody + "." + domain, domain} {
		if _, err := d.request(ctx, "GET", host, "/invoices", "", http.StatusNotFound); err != nil {
			return err
		}
	}
	return d.forget()
}

// showSignup signs a customer up unless an earlier run has done so, and prints
// what it has of its own.
func (d *demo) showSignup(ctx context.Context, in newCustomer) error {
	id, err := scope.Parse(in.Subdomain)
	if err != nil {
		return err
	}
	if _, err := d.backend.tenants.Get(ctx, id); errors.Is(err, catalog.ErrUnknown) {
		body, err := json.Marshal(in)
		if err != nil {
			return err
		}
		// Another process on the same database may have just done so.
		if _, err := d.request(ctx, "POST", domain, "/signup", string(body), http.StatusCreated, http.StatusConflict); err != nil {
			return err
		}
	}
	tenant, err := d.active(ctx, id)
	if err != nil {
		return err
	}
	by, err := d.backend.signedUpBy(ctx, tenant)
	if err != nil {
		return err
	}
	host := id.String() + "." + domain
	if d.keys[host], err = d.backend.issueKey(ctx, id); err != nil {
		return err
	}
	d.print("  %-6s  plan %s, signed up by %s\n", id, tenant.Labels[labelPlan], by.Contact)
	d.print("  %-6s  schema %s in database %s, as role %s\n", id, tenant.Schema, tenant.Database, tenant.Role)
	return seed(ctx, d.backend.db, id, d.progress)
}

// active returns the tenant as soon as it is active: another process may still be
// making it.
func (d *demo) active(ctx context.Context, id scope.Tenant) (catalog.Tenant, error) {
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		tenant, err := d.backend.tenants.Get(ctx, id)
		if err != nil || tenant.State != catalog.Provisioning {
			return tenant, err
		}
		select {
		case <-ctx.Done():
			return tenant, ctx.Err()
		case <-again.C:
		}
	}
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

// showWrongKey tries acme's key at globex.
func (d *demo) showWrongKey(ctx context.Context) error {
	thief := *d.visitor
	thief.keys = map[string]string{"globex.localhost": d.keys["acme.localhost"]}
	other := demo{progress: d.progress, visitor: &thief, backend: d.backend}
	_, err := other.request(ctx, "GET", "globex.localhost", "/invoices", "", http.StatusUnauthorized)
	return err
}

// forget does what code does that forgets to pass the context on.
func (d *demo) forget() error {
	var invoices []Invoice
	err := d.backend.db.Find(&invoices).Error
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
func (d *demo) explain(token string) {
	if d.onLoopback() {
		d.print("\nTry it in a browser:\n  %s\n", d.url(domain, "/"))
		for _, host := range []string{"acme.localhost", "globex.localhost"} {
			d.print("  %s\n", loginURL(d.url(host, "/"), d.keys[host]))
		}
		d.print("As the operator:\n  %s\n", d.url(domain, "/operator/login?token="+token))
	}
	d.print("\nTry it with curl:\n")
	for _, c := range []struct{ host, path, body string }{
		{"", "/signup", anotherOne}, // an address names no customer, as the bare domain does
		{"acme.localhost", "/invoices", oneMore},
		{"acme.localhost", "/invoices", ""},
	} {
		header, data := "", ""
		if c.host != "" {
			header = "-H 'Host: " + c.host + "' -H 'Authorization: Bearer " + d.keys[c.host] + "' "
		}
		if c.body != "" {
			data = " -d '" + c.body + "'"
		}
		d.print("  curl %shttp://%s%s%s\n", header, d.addr, c.path, data)
	}
	d.print("\nCtrl-C stops it.\n")
}
