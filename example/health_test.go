package main_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	example "github.com/tenantry/tenantry/example"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
)

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

func TestMetricsAreForThisMachineOrTheOperatorsToken(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from, authorization string
		want                int
	}{
		{"127.0.0.1:1234", "", http.StatusOK},
		{"[::1]:1234", "", http.StatusOK},
		{"127.0.0.1:1234", "Bearer wrong", http.StatusOK},
		{"192.0.2.1:1234", "", http.StatusUnauthorized},
		{"[2001:db8::1]:1234", "", http.StatusUnauthorized},
		{"", "", http.StatusUnauthorized},
		{"192.0.2.1:1234", "Bearer ", http.StatusUnauthorized},
		{"192.0.2.1:1234", "Bearer wrong", http.StatusUnauthorized},
		{"192.0.2.1:1234", "Bearer token", http.StatusOK},
	} {
		r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		r.RemoteAddr = c.from
		r.Header.Set("Authorization", c.authorization)
		r.Header.Set("X-Forwarded-For", "127.0.0.1") // says nothing
		if got := example.Scrape(r, "token"); got != c.want {
			t.Errorf("%q with %q: got %d", c.from, c.authorization, got)
		}
	}
}
