package httpmw

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/tenantry/tenantry/scope"
)

// PathParam reads a tenant id from the path wildcard with the given name, such
// as "tenant" in "/t/{tenant}/invoices".
//
// The router must know the wildcard before the middleware runs. So wrap the
// handlers that are given to a ServeMux, not the ServeMux, and in chi mount the
// middleware with Route, Group or With, not on the root.
func PathParam(name string) Resolver {
	if name == "" {
		return broken("PathParam: the name is empty: give the name of the wildcard in the route")
	}
	source := "path parameter " + name
	return Resolver{resolve: func(r *http.Request) (Ref, error) {
		return parseID(source, r.PathValue(name))
	}}
}

// Header reads a tenant id from the request header with the given name. A
// header that occurs twice is malformed.
//
// Use it only behind a proxy that sets this header on every request. Anyone who
// reaches the service directly, or through a proxy that passes the header on,
// can write any tenant into it.
func Header(name string) Resolver {
	if name == "" || strings.ContainsFunc(name, notToken) {
		return broken("Header: %q is not a header name: give one such as X-Tenant", name)
	}
	source := "header " + name
	return Resolver{resolve: func(r *http.Request) (Ref, error) {
		switch values := r.Header.Values(name); len(values) {
		case 0:
			return parseID(source, "")
		case 1:
			return parseID(source, values[0])
		default:
			return Ref{}, fmt.Errorf("%w: %s occurs %d times", ErrMalformed, source, len(values))
		}
	}}
}

// notToken reports whether c cannot be in a header name (RFC 9110, section
// 5.6.2).
func notToken(c rune) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return false
	}
	return !strings.ContainsRune("!#$%&'*+-.^_`|~", c)
}

// Func reads a tenant id with f, for example from the claims that an
// authentication middleware left on the request's context. That middleware must
// run first. An empty id means that no tenant is named.
//
// An error of f that matches one of this package's errors is answered as such.
// Any other error is answered like a failed directory, with 503. f must be safe
// for concurrent use.
func Func(f func(*http.Request) (id string, err error)) Resolver {
	if f == nil {
		return broken("Func: the function is nil: give one that returns a tenant id")
	}
	return Resolver{resolve: func(r *http.Request) (Ref, error) {
		id, err := f(r)
		if err != nil {
			return Ref{}, fmt.Errorf("httpmw: resolver function: %w", err)
		}
		return parseID("resolver function", id)
	}}
}

func parseID(source, id string) (Ref, error) {
	if id == "" {
		return Ref{}, fmt.Errorf("%w: %s: empty or missing", ErrNoTenant, source)
	}
	if _, err := scope.Parse(id); err != nil {
		return Ref{}, fmt.Errorf("%w: %s: %w", ErrMalformed, source, err)
	}
	return Ref{Kind: KindID, Value: id}, nil
}
