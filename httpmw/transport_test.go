package httpmw_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/httpmw"
	"github.com/tenantry/tenantry/scope"
)

// sent is a RoundTripper that keeps what it would send.
type sent struct {
	requests []*http.Request
	closed   bool
}

func (s *sent) RoundTrip(r *http.Request) (*http.Response, error) {
	s.requests = append(s.requests, r)
	return &http.Response{StatusCode: http.StatusNoContent, Body: http.NoBody, Request: r}, nil
}

func (s *sent) CloseIdleConnections() { s.closed = true }

func transport(t *testing.T, next http.RoundTripper, hosts ...string) http.RoundTripper {
	t.Helper()
	rt, err := httpmw.NewTransport(next, hosts...)
	if err != nil {
		t.Fatal(err)
	}
	return rt
}

// outgoing is a request as a program makes it, with more headers of the kind.
func outgoing(t *testing.T, ctx context.Context, rawURL string, header http.Header) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, rawURL, io.NopCloser(strings.NewReader("body")))
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(r.Header, header)
	return r
}

// send returns the values of the header that reach next, under any spelling.
func send(t *testing.T, rt http.RoundTripper, next *sent, r *http.Request) []string {
	t.Helper()
	before := r.Header.Clone()
	resp, err := rt.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if !maps.EqualFunc(before, r.Header, slices.Equal) {
		t.Errorf("the caller's header was changed from %v to %v", before, r.Header)
	}
	out := next.requests[len(next.requests)-1]
	if out.Header.Get("X-Other") != r.Header.Get("X-Other") || out.Body != r.Body || out.Context() != r.Context() {
		t.Errorf("sent another request: %v", out)
	}
	var values []string
	for name, v := range out.Header {
		if strings.EqualFold(name, scope.HeaderName) {
			values = append(values, v...)
		}
	}
	return values
}

func TestTheTenantIsSentToListedHostsOnly(t *testing.T) {
	t.Parallel()
	next := &sent{}
	rt := transport(t, next, "Billing.internal", "mail.internal.", "127.0.0.1", "::1", "[2001:DB8::0]", "a_b")
	for rawURL, listed := range map[string]bool{
		"http://billing.internal/x":            true,
		"https://billing.internal:8443/":       true,
		"http://BILLING.INTERNAL./":            true,
		"http://mail.internal/":                true,
		"http://127.0.0.1:8080/":               true,
		"http://[::1]:8080/":                   true,
		"http://[0:0::1]/":                     true,
		"http://[2001:db8::]/":                 true,
		"http://a_b/":                          true,
		"http://internal/":                     false,
		"http://eu.billing.internal/":          false,
		"http://billing.internal.example.com/": false,
		"http://xbilling.internal/":            false,
		"http://billing.internal@example.com/": false,
		"http://example.com/billing.internal":  false,
		"http://example.com/?billing.internal": false,
		"http://billing.internal../":           false,
		"http://127.0.0.2/":                    false,
		"http://127.1/":                        false,
		"http://[::2]/":                        false,
		"http://[::ffff:127.0.0.1]/":           false,
		"http://[::1%25eth0]/":                 false,
		"http://mai\u217c.internal/":           false, // a numeral that folds to l
		"http:///":                             false,
	} {
		ctx := scope.With(t.Context(), tenant(t, "acme"))
		for _, header := range []http.Header{
			nil,
			{"X-Other": {"1"}, "Tenantry-Tenant": {"globex"}},
			{"tenantry-tenant": {"globex"}, "TENANTRY-TENANT": {"initech", "globex"}},
		} {
			var want []string
			if listed {
				want = []string{"acme"}
			}
			u, err := url.Parse(rawURL)
			if err != nil {
				t.Fatal(err)
			}
			r := outgoing(t, ctx, "http://example.com", header)
			r.URL = u
			r.Host = "billing.internal" // which does not say where it goes
			if got := send(t, rt, next, r); !slices.Equal(got, want) {
				t.Errorf("%s with %v: sent %q, want %q", rawURL, header, got, want)
			}
		}
	}
}

func TestTheSharedScopeIsSentAsSuch(t *testing.T) {
	t.Parallel()
	next := &sent{}
	r := outgoing(t, scope.Shared(t.Context()), "http://billing.internal", nil)
	r.Header = nil // which a RoundTripper may be given
	rt := transport(t, next, "billing.internal")
	resp, err := rt.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	got, err := scope.Extract(t.Context(), next.requests[0].Header)
	if err != nil || !scope.IsShared(got) || r.Header != nil {
		t.Errorf("got %v, error %v", next.requests[0].Header, err)
	}
}

// closing tells whether it was closed.
type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error {
	c.closed = true
	return nil
}

func TestARequestWithoutAScopeIsNotSent(t *testing.T) {
	t.Parallel()
	next := &sent{}
	rt := transport(t, next, "billing.internal")
	client := &http.Client{Transport: rt}
	body := &closing{Reader: strings.NewReader("x")}
	r := outgoing(t, t.Context(), "http://billing.internal", http.Header{"Tenantry-Tenant": {"globex"}})
	r.Body = body
	resp, err := client.Do(r)
	if err == nil {
		_ = resp.Body.Close()
	}
	if !errors.Is(err, scope.ErrNone) || len(next.requests) > 0 || !body.closed {
		t.Errorf("got error %v, %d requests sent, body closed: %t", err, len(next.requests), body.closed)
	}
	if got := send(t, rt, next, outgoing(t, t.Context(), "http://example.com", nil)); len(got) > 0 {
		t.Errorf("another host got %q", got)
	}
	client.CloseIdleConnections()
	if !next.closed {
		t.Error("CloseIdleConnections was not passed on")
	}
}

// TestARedirectTakesTheTenantNowhereElse has a listed service redirect to another
// host, which must not learn the tenant.
func TestARedirectTakesTheTenantNowhereElse(t *testing.T) {
	t.Parallel()
	learnt := make(chan []string, 1)
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		learnt <- r.Header.Values(scope.HeaderName)
	}))
	defer other.Close()
	asked := make(chan []string, 1)
	own := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Header.Values(scope.HeaderName)
		http.Redirect(w, r, strings.Replace(other.URL, "127.0.0.1", "localhost", 1), http.StatusFound)
	}))
	defer own.Close()

	client := &http.Client{Transport: transport(t, nil, "127.0.0.1")}
	defer client.CloseIdleConnections()
	r := outgoing(t, scope.With(t.Context(), tenant(t, "acme")), own.URL, nil)
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if got := <-asked; !slices.Equal(got, []string{"acme"}) {
		t.Errorf("the service got %q", got)
	}
	if got := <-learnt; len(got) > 0 {
		t.Errorf("the other host got %q", got)
	}
}

// TestAProxyDoesNotPassOnWhatAClientClaims has a reverse proxy between a client that
// names another tenant and the service behind.
func TestAProxyDoesNotPassOnWhatAClientClaims(t *testing.T) {
	t.Parallel()
	acme := tenant(t, "acme")
	service := httptest.NewServer(middleware(t, httpmw.Fixed(acme, tenant(t, "globex")), httpmw.Header(scope.HeaderName))(greet(t)))
	defer service.Close()
	target, err := url.Parse(service.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(p *httputil.ProxyRequest) { p.SetURL(target) },
		Transport: transport(t, service.Client().Transport, target.Hostname()),
	}
	front := middleware(t, httpmw.Fixed(acme), httpmw.Subdomain("myservice.com"))(proxy)

	r := request("acme.myservice.com")
	r.Header.Set(scope.HeaderName, "globex")
	if w := serve(front, r); w.Code != http.StatusOK || w.Body.String() != "acme" {
		t.Errorf("got %d %q", w.Code, w.Body)
	}
}

func TestTheOtherSideTakesATenantThatItKnows(t *testing.T) {
	t.Parallel()
	h := middleware(t, httpmw.Fixed(tenant(t, "acme")), httpmw.Header(scope.HeaderName))(greet(t))
	for name, tc := range map[string]struct {
		ctx  context.Context
		want int
	}{
		"a tenant":          {scope.With(t.Context(), tenant(t, "acme")), http.StatusOK},
		"an unknown tenant": {scope.With(t.Context(), tenant(t, "globex")), http.StatusNotFound},
		"shared":            {scope.Shared(t.Context()), http.StatusBadRequest},
	} {
		r := request("billing.internal")
		if err := scope.Inject(tc.ctx, r.Header); err != nil {
			t.Fatal(err)
		}
		if w := serve(h, r); w.Code != tc.want {
			t.Errorf("%s: got %d, want %d", name, w.Code, tc.want)
		}
	}
}

func TestNewTransportRefusesWhatIsNoHost(t *testing.T) {
	t.Parallel()
	for name, hosts := range map[string][]string{
		"none":                  nil,
		"an empty one":          {""},
		"a dot":                 {"."},
		"a second that is none": {"billing.internal", "a b"},
		"a port":                {"billing.internal:8080"},
		"an address and port":   {"127.0.0.1:8080"},
		"a URL":                 {"http://billing.internal"},
		"a path":                {"billing.internal/x"},
		"a wildcard":            {"*.internal"},
		"no ASCII":              {"münchen.internal"},
		"IPv4 in brackets":      {"[127.0.0.1]"},
		"an open bracket":       {"[::1"},
	} {
		rt, err := httpmw.NewTransport(nil, hosts...)
		if err == nil || rt != nil || !strings.HasPrefix(err.Error(), "httpmw: NewTransport: ") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
