package main_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/catalog"
)

func TestASuspendedCustomerIsToldSo(t *testing.T) {
	t.Parallel()
	dsn := database(t)
	p := start(t, dsn)
	acme := parse(t, "acme")
	operate(t, dsn, func(ctx context.Context, c *catalog.Catalog) error { return c.Suspend(ctx, acme) })
	var status int
	var body string
	until(t, "acme is suspended", func() bool {
		status, body = p.do(t, "GET", "acme", "/invoices", "")
		return status != http.StatusOK
	})
	if status != http.StatusForbidden || !strings.Contains(body, `{"error":"this customer is suspended: `) {
		t.Errorf("got %d %s", status, body)
	}
	if got := list(t, p, "globex"); len(got) == 0 {
		t.Error("globex has nothing any more")
	}
	operate(t, dsn, func(ctx context.Context, c *catalog.Catalog) error { return c.Resume(ctx, acme) })
	until(t, "acme is back", func() bool {
		status, _ = p.do(t, "GET", "acme", "/invoices", "")
		return status == http.StatusOK
	})
}

func TestACustomerIsServedOnADomainOfItsOwn(t *testing.T) {
	t.Parallel()
	dsn := database(t)
	p := start(t, dsn)
	operate(t, dsn, func(ctx context.Context, c *catalog.Catalog) error {
		return c.Rename(ctx, parse(t, "acme"), "", "acme", "invoices.acme.example")
	})
	key, _ := p.keys.Load("acme.localhost")
	p.keys.Store("invoices.acme.example", key)
	until(t, "acme's domain is known", func() bool {
		status, body := p.ask(t, "GET", "invoices.acme.example", "/", "")
		return status == http.StatusOK && strings.HasPrefix(body, "acme: ")
	})
}

func TestTheSiteAndTheCustomersHaveTheirOwnPages(t *testing.T) {
	t.Parallel()
	p := start(t, database(t))
	for _, c := range []struct {
		method, host, path string
		status             int
		want               string
	}{
		{"GET", "localhost", "/", 200, "Sign up"},
		{"GET", "www.localhost", "/", 200, "Sign up"},
		{"GET", p.addr, "/", 200, "Sign up"},
		{"GET", "localhost", "/signup", 405, "method not allowed"},
		{"GET", "localhost", "/invoices", 404, "no such page"},
		{"POST", "acme.localhost", "/signup", 404, "no such page"},
		{"POST", "initech.localhost", "/signup", 404, "unknown tenant"},
		{"POST", "unknown.example", "/signup", 404, "unknown tenant"},
	} {
		if status, body := p.ask(t, c.method, c.host, c.path, customerOf("initech", "shared")); status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s %s%s: got %d %s, want %d %s", c.method, c.host, c.path, status, body, c.status, c.want)
		}
	}
}

func TestARestartKeepsCustomersAndTheirData(t *testing.T) {
	t.Parallel()
	dsn := database(t)
	p := start(t, dsn)
	for _, plan := range []string{"shared", "own"} {
		if status, body := p.ask(t, "POST", "localhost", "/signup", customerOf(plan+"-one", plan)); status != http.StatusCreated {
			t.Fatalf("got %d %s", status, body)
		}
		add(t, p, plan+"-one", "Chotchkie's of "+plan)
	}
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	p = start(t, dsn)
	for _, plan := range []string{"shared", "own"} {
		p.letIn(t, plan+"-one")
		if got := list(t, p, plan+"-one"); len(got) != 1 || len(got["Chotchkie's of "+plan]) != 1 {
			t.Errorf("%s has %+v", plan, got)
		}
	}
}
