package httpmw

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"strings"

	"github.com/tenantry/tenantry/scope"
)

// NewTransport returns a RoundTripper that sends the scope of a request's context
// along, as scope.Inject writes it, to your own services: to the hosts that are
// listed, and only there. It replaces the header scope.HeaderName that a request
// has already. To every other host, also one that a listed host redirects to, the
// request goes without that header.
//
// A request to a listed host whose context has no scope is not sent: the error
// matches scope.ErrNone. What concerns no tenant, such as a health check, says so
// by scope.Shared, or uses another client.
//
// Hosts are names such as "billing.internal" or IP addresses, at least one, without
// a port: each port of the host is meant. They are compared with the host of the
// request's URL, where the request is sent to. A name does not stand for those below
// it.
//
// next sends the requests; nil is http.DefaultTransport. The RoundTripper keeps no
// state and is safe for concurrent use if next is. Closing idle connections
// (http.Client.CloseIdleConnections) is passed on.
//
// # The other side
//
// The service that is called reads the tenant with
//
//	httpmw.New(directory, httpmw.Header(scope.HeaderName))
//
// on a listener that only your own services reach: whoever can write to it can name
// any tenant. The directory still refuses a tenant that it does not know or that is
// suspended. A call under scope.Shared names no tenant, so this middleware refuses
// it with 400; a handler for such calls uses scope.Extract on the request's header.
func NewTransport(next http.RoundTripper, hosts ...string) (http.RoundTripper, error) {
	if next == nil {
		next = http.DefaultTransport
	}
	if len(hosts) == 0 {
		return nil, errors.New("httpmw: NewTransport: no host given: name your own services that may learn the tenant, such as \"billing.internal\"")
	}
	own := make(map[string]bool, len(hosts))
	for _, h := range hosts {
		name, err := serviceHost(h)
		if err != nil {
			return nil, fmt.Errorf("httpmw: NewTransport: host %q: %w: write it like \"billing.internal\"", h, err)
		}
		own[name] = true
	}
	return &transport{next: next, own: own}, nil
}

type transport struct {
	next http.RoundTripper
	own  map[string]bool // by serviceHost
}

// RoundTrip implements http.RoundTripper: it changes no request, and closes the
// body of one that it does not send.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	out, err := t.outgoing(r)
	if err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // it was only to be read
		}
		return nil, err
	}
	return t.next.RoundTrip(out)
}

// CloseIdleConnections is what http.Client.CloseIdleConnections calls.
func (t *transport) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// outgoing returns a copy of r with the scope, or without any.
func (t *transport) outgoing(r *http.Request) (*http.Request, error) {
	out := r.Clone(r.Context())
	if out.Header == nil {
		out.Header = http.Header{}
	}
	maps.DeleteFunc(out.Header, func(name string, _ []string) bool {
		return strings.EqualFold(name, scope.HeaderName) // a map may hold other spellings
	})
	if !t.listed(r.URL.Hostname()) {
		return out, nil
	}
	if err := scope.Inject(r.Context(), out.Header); err != nil {
		return nil, fmt.Errorf("httpmw: request to %s: %w", r.URL.Hostname(), err)
	}
	return out, nil
}

func (t *transport) listed(host string) bool {
	name, err := serviceHost(host)
	return err == nil && t.own[name]
}

// serviceHost returns the one spelling of a host name or IP address.
func serviceHost(host string) (string, error) {
	if isIP(host) {
		addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
		return addr.String(), err
	}
	name := strings.TrimSuffix(host, ".")
	if err := checkName(name); err != nil {
		return "", err
	}
	return strings.ToLower(name), nil
}
