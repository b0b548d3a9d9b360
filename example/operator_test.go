package main_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/catalog"
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
	if status, body := p.do(t, "GET", "acme", "/invoices", ""); status != http.StatusForbidden {
		t.Errorf("the next request of a suspended customer: got %d %s", status, body)
	}
	const message = `<p class="notice" role="status">acme is suspended</p>`
	mustContain(t, b.get(t, page).body, message, `<td class="state-suspended">suspended</td>`, `action="/operator/tenants/acme/resume"`)
	if strings.Contains(b.get(t, page).body, message) {
		t.Error("a reload shows the message again")
	}
	b.post(t, b.at("localhost", "/operator/tenants/acme/resume"), form(), http.StatusSeeOther)
	if status, body := p.do(t, "GET", "acme", "/invoices", ""); status != http.StatusOK {
		t.Errorf("the next request of one that is back: got %d %s", status, body)
	}
	mustContain(t, b.get(t, page).body, "acme is resumed")
	for path, want := range map[string]int{"nobody/suspend": 404, "No!/resume": 404, "nobody/key": 404} {
		b.post(t, b.at("localhost", "/operator/tenants/"+path), form(), want)
	}
	b.post(t, b.at("localhost", "/operator/logout"), form(), http.StatusSeeOther)
	if r := b.get(t, page); r.status != http.StatusSeeOther {
		t.Errorf("after signing out: got %d", r.status)
	}
}

// TestACustomerWhoseSignUpHasFailedIsShownWithTheReason: the migrator does not know it.
func TestACustomerWhoseSignUpHasFailedIsShownWithTheReason(t *testing.T) {
	t.Parallel()
	dsn := database(t)
	p := start(t, dsn)
	b := p.operator(t)
	hook(t, dsn, "raise exception 'the disk is full'")
	if status, body := p.ask(t, "POST", "localhost", "/signup", customerOf("initech", "shared")); status != http.StatusServiceUnavailable {
		t.Fatalf("got %d %s", status, body)
	}
	execute(t, dsn, "drop event trigger hook")
	r := b.get(t, b.at("localhost", "/operator"))
	mustContain(t, r.body, `<tr id="customer-initech">`, `<td class="state-failed">failed</td>`, "the disk is full", `<tr id="customer-globex">`, "0005_invoice_note")
	b.post(t, b.at("localhost", "/operator/tenants/initech/suspend"), form(), http.StatusConflict)
}

func TestEveryCustomerIsOnOnePage(t *testing.T) {
	t.Parallel()
	dsn := database(t)
	p := start(t, dsn)
	b := p.operator(t)
	execute(t, dsn, `insert into tenantry.tenants (id, name, state, kind, server, cluster, database, schema)
		select other, other, 'failed', kind, server, cluster, database, 'none_' || n
		from tenantry.tenants t, generate_series(1, 110) n, lateral (select 'c' || n % 2 || repeat('-', n % 3) || 'x' || n) as more (other)
		where t.id = 'acme'`)
	defer execute(t, dsn, "delete from tenantry.tenants where schema like 'none%'")
	seen := map[string]int{}
	pages := 0
	for next := "/operator"; next != ""; pages++ {
		r := b.get(t, b.at("localhost", next))
		if r.status != http.StatusOK || pages > 3 {
			t.Fatalf("page %d, %s: got %d", pages, next, r.status)
		}
		for _, id := range regexp.MustCompile(`id="customer-([^"]+)"`).FindAllStringSubmatch(r.body, -1) {
			seen[id[1]]++
		}
		_, more, _ := strings.Cut(r.body, `<a href="/operator?`)
		if next, _, _ = strings.Cut(more, `"`); next != "" {
			next = "/operator?" + next
		}
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s is shown %d times", id, n)
		}
	}
	if len(seen) != 112 || pages != 3 {
		t.Errorf("%d customers on %d pages", len(seen), pages)
	}
	for _, odd := range []string{"0", "-1", "x", "99", "9223372036854775807"} {
		if r := b.get(t, b.at("localhost", "/operator?page="+odd)); r.status != http.StatusOK {
			t.Errorf("page %s: got %d", odd, r.status)
		}
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
	begun := time.Now()
	if err := p.stop(); err != nil {
		t.Error(err)
	}
	for range events { // it ends
	}
	if took := time.Since(begun); took > 15*time.Second { // the server cuts requests off after 27
		t.Errorf("it ended after %v", took)
	}
}
