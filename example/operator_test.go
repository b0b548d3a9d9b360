package main_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
)

// operator returns a browser that has signed in as the operator.
func (p *program) operator(t *testing.T) *browser {
	t.Helper()
	b := p.browser(t)
	b.post(t, b.at("localhost", "/operator/login"), form("key", p.token), http.StatusSeeOther)
	return b
}

func TestTheOperatorSuspendsAndResumes(t *testing.T) {
	t.Parallel()
	p := start(t, database(t))
	b := p.operator(t)
	page := b.at("localhost", "/operator")
	mustContain(t, b.get(t, page).body, `<tr id="customer-acme">`, "Acme Corp", `<td class="state-active">active</td>`, "0005_invoice_note", "database on main")
	b.post(t, b.at("localhost", "/operator/tenants/acme/suspend"), form(), http.StatusSeeOther)
	mustContain(t, b.get(t, page).body, `<td class="state-suspended">suspended</td>`, `action="/operator/tenants/acme/resume"`)
	until(t, "acme is suspended", func() bool {
		status, _ := p.do(t, "GET", "acme", "/invoices", "")
		return status == http.StatusForbidden
	})
	b.post(t, b.at("localhost", "/operator/tenants/acme/resume"), form(), http.StatusSeeOther)
	until(t, "acme is back", func() bool { status, _ := p.do(t, "GET", "acme", "/invoices", ""); return status == http.StatusOK })
	for path, want := range map[string]int{"nobody/suspend": 404, "No!/resume": 404, "nobody/key": 404} {
		b.post(t, b.at("localhost", "/operator/tenants/"+path), form(), want)
	}
	b.post(t, b.at("localhost", "/operator/logout"), form(), http.StatusSeeOther)
	if r := b.get(t, page); r.status != http.StatusSeeOther {
		t.Errorf("after signing out: got %d", r.status)
	}
}

// TestTheOperatorsTokenAndCookieAreRefusedElsewhere: on customers' hosts, and when they
// are wrong.
func TestTheOperatorsTokenAndCookieAreRefusedElsewhere(t *testing.T) {
	t.Parallel()
	p := start(t, database(t))
	b := p.operator(t)
	r := b.post(t, b.at("localhost", "/operator/login"), form("key", p.token), http.StatusSeeOther)
	cookie, _, _ := strings.Cut(r.header.Get("Set-Cookie"), ";")
	mustContain(t, r.header.Get("Set-Cookie"), "operator=", "Path=/operator;", "HttpOnly", "SameSite=Strict")
	_, value, _ := strings.Cut(cookie, "=")

	stranger := p.browser(t)
	if r := stranger.send(t, "GET", stranger.at("localhost", "/operator"), nil, "Cookie", cookie); r.status != http.StatusOK {
		t.Errorf("the cookie is not enough: %d", r.status)
	}
	for _, name := range []string{"operator", "session"} {
		for path, want := range map[string]int{"/operator": 404, "/": 303, "/invoices": 303} {
			if r := stranger.send(t, "GET", stranger.at("acme.localhost", path), nil, "Cookie", name+"="+value); r.status != want {
				t.Errorf("acme %s with %s: got %d", path, name, r.status)
			}
		}
	}
	stranger.post(t, stranger.at("acme.localhost", "/operator/login"), form("key", p.token), http.StatusNotFound)
	stranger.post(t, stranger.at("acme.localhost", "/login"), form("key", p.token), http.StatusUnprocessableEntity)
	for _, wrong := range []string{"", "x", p.token[1:], p.token + "A"} {
		stranger.post(t, stranger.at("localhost", "/operator/login"), form("key", wrong), http.StatusUnprocessableEntity)
	}
	key, _ := p.keys.Load("acme.localhost")
	stranger.post(t, stranger.at("localhost", "/operator/login"), form("key", key.(string)), http.StatusUnprocessableEntity)
	for _, path := range []string{"", "/events", "/tenants/acme/suspend", "/tenants/acme/key", "/migrate", "/rollback"} {
		method := http.MethodPost
		if path == "" || path == "/events" {
			method = http.MethodGet
		}
		if r := stranger.send(t, method, stranger.at("localhost", "/operator"+path), nil); r.status != http.StatusSeeOther {
			t.Errorf("%s: got %d", path, r.status)
		}
	}
	for _, origin := range []string{b.at("acme.localhost", ""), "https://evil.example"} {
		if r := b.send(t, http.MethodPost, b.at("localhost", "/operator/tenants/acme/suspend"), form(), "Origin", origin); r.status != http.StatusForbidden {
			t.Errorf("a post of %s: got %d", origin, r.status)
		}
	}
}

// rolloutEvent is what the page's script reads.
type rolloutEvent struct {
	What, Error         string
	Running             bool
	Done, Failed, Total int
	Steps               []struct {
		Number                    int
		Kind, Customer, Migration string
	}
}

// listen reads the operator's events until ctx ends.
func (b *browser) listen(ctx context.Context, t *testing.T) <-chan rolloutEvent {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, b.at("localhost", "/operator/events"), nil)
	if err != nil {
		t.Fatal(err)
	}
	endless := *b.client
	endless.Timeout = 0
	answer, err := endless.Do(r) //nolint:bodyclose // the goroutine closes it
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != http.StatusOK || !strings.HasPrefix(answer.Header.Get("Content-Type"), "text/event-stream") {
		t.Fatalf("got %d %v", answer.StatusCode, answer.Header)
	}
	events := make(chan rolloutEvent)
	go func() {
		defer close(events)
		defer answer.Body.Close()
		for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
			data, ok := strings.CutPrefix(lines.Text(), "data:")
			var e rolloutEvent
			if !ok || json.Unmarshal([]byte(data), &e) != nil {
				continue
			}
			select {
			case events <- e:
			case <-ctx.Done():
				return
			}
		}
	}()
	return events
}

func TestARolloutIsShownLive(t *testing.T) {
	t.Parallel()
	p := start(t, database(t))
	b := p.operator(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	events := b.listen(ctx, t)
	if first := <-events; first.What != "" || first.Running {
		t.Errorf("got %+v", first)
	}
	number := 0
	for _, c := range []struct{ path, what, kind string }{{"/operator/rollback", "roll back", "rolled back"}, {"/operator/migrate", "migrate", "applied"}} {
		b.post(t, b.at("localhost", c.path), form(), http.StatusSeeOther)
		done := map[string]bool{}
		for e := range events {
			for _, s := range e.Steps {
				if s.Number != number+1 {
					t.Errorf("step %d follows %d", s.Number, number)
				}
				number = s.Number
				if s.Kind == c.kind && s.Migration == "0005_invoice_note" {
					done[s.Customer] = true
				}
			}
			if e.What == c.what && !e.Running {
				if e.Done != 2 || e.Total != 2 || e.Failed != 0 || e.Error != "" {
					t.Errorf("got %+v", e)
				}
				break
			}
		}
		if !done["acme"] || !done["globex"] {
			t.Errorf("%s: got %v", c.what, done)
		}
	}
	mustContain(t, b.get(t, b.at("localhost", "/operator")).body, "migrate: 2 of 2 done, 0 failed", `value="2"`, "roll back to 0004_access")
}

func TestARolloutWaitsForNobodyAndEndsWithTheProgram(t *testing.T) {
	t.Parallel()
	dsn := database(t)
	p := start(t, dsn)
	b := p.operator(t)
	events := b.listen(t.Context(), t) // which nobody reads but for the first
	<-events
	gate := connect(t, dsn)
	defer gate.Close(context.Background())
	schema := ""
	operate(t, dsn, func(ctx context.Context, c *catalog.Catalog) error {
		acme, err := c.Get(ctx, parse(t, "acme"))
		schema = acme.Schema
		return err
	})
	if _, err := gate.Exec(t.Context(), "begin; lock table "+schema+".invoices"); err != nil {
		t.Fatal(err)
	}
	b.post(t, b.at("localhost", "/operator/rollback"), form(), http.StatusSeeOther)
	b.post(t, b.at("localhost", "/operator/migrate"), form(), http.StatusConflict)
	mustContain(t, b.get(t, b.at("localhost", "/operator")).body, "under way")
	if err := p.stop(); err != nil {
		t.Error(err)
	}
	for range events { // it ends
	}
}

func TestHealthIsShownOnTheBareDomain(t *testing.T) {
	t.Parallel()
	dsn := database(t)
	p := start(t, dsn)
	for path, want := range map[string]string{"/healthz": "ok", "/readyz": "ok", "/metrics": "tenantry_statements_total"} {
		if status, body := p.ask(t, "GET", "localhost", path, ""); status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: got %d %s", path, status, body)
		}
		if status, body := p.ask(t, "GET", "acme.localhost", path, ""); status != http.StatusNotFound {
			t.Errorf("%s at acme: got %d %s", path, status, body)
		}
	}
	_, body := p.ask(t, "GET", "localhost", "/metrics", "")
	for _, line := range strings.Split(body, "\n") {
		if strings.HasPrefix(line, "tenantry_") && (strings.Contains(line, "acme") || strings.Contains(line, "globex")) {
			t.Errorf("a label names a customer: %s", line)
		}
	}
}

func TestTheServiceIsNotReadyWithoutItsDatabase(t *testing.T) {
	t.Parallel()
	server := pgtest.Server(t)
	p := start(t, server.DSN())
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	status, body := p.ask(t, "GET", "localhost", "/readyz", "")
	if status != http.StatusServiceUnavailable || body != "not ready: catalog, database\n" {
		t.Errorf("got %d %s", status, body)
	}
	if status, _ := p.ask(t, "GET", "localhost", "/healthz", ""); status != http.StatusOK {
		t.Errorf("it is alive all the same: got %d", status)
	}
}
