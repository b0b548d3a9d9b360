package httpmw

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Subdomain reads the label directly below one of the parent domains: with
// "myservice.com" the host "acme.myservice.com" names "acme". Case, a port and a
// trailing dot do not matter.
//
//   - A parent itself, an IP address, any other host and no host name no tenant.
//   - A deeper host such as "a.b.myservice.com" is malformed, as is a host or a
//     label that cannot be a DNS name.
//   - One parent may lie below another: with "myservice.com" and
//     "eu.myservice.com" the label "eu" names no tenant. A label means the same
//     below each parent.
//
// The host is that of the request (http.Request.Host). X-Forwarded-Host and
// Forwarded are not looked at, because any client can send them: let the proxy
// pass the host on.
//
// Parents are plain host names such as "myservice.com" or "localhost",
// international ones in their xn-- form.
func Subdomain(parents ...string) Resolver {
	if len(parents) == 0 {
		return broken("Subdomain: no parent domain given: name at least one, such as \"myservice.com\"")
	}
	set := make(map[string]bool, len(parents))
	for _, p := range parents {
		name, err := parseParent(p)
		if err != nil {
			return broken("Subdomain: parent domain %q: %w: write it like \"myservice.com\"", p, err)
		}
		set[name] = true
	}
	return Resolver{resolve: func(r *http.Request) (Ref, error) { return subdomain(set, r.Host) }}
}

func subdomain(parents map[string]bool, host string) (Ref, error) {
	name, err := hostname(host)
	if err != nil {
		return Ref{}, err
	}
	label, rest, _ := strings.Cut(name, ".")
	switch {
	case parents[name]:
		return Ref{}, fmt.Errorf("%w: host %q is a parent domain itself", ErrNoTenant, name)
	case !parents[rest] && !below(parents, rest):
		return Ref{}, fmt.Errorf("%w: host %q is not below a parent domain", ErrNoTenant, name)
	case !parents[rest]:
		return Ref{}, fmt.Errorf("%w: host %q is more than one label below its parent domain", ErrMalformed, name)
	case !isLabel(label):
		return Ref{}, fmt.Errorf("%w: host %q: %q is not a DNS label", ErrMalformed, name, label)
	}
	return Ref{Kind: KindSubdomain, Value: label}, nil
}

// below reports whether a parent is a proper suffix of name.
func below(parents map[string]bool, name string) bool {
	for rest, ok := name, true; ok; {
		_, rest, ok = strings.Cut(rest, ".")
		if ok && parents[rest] {
			return true
		}
	}
	return false
}

// parseParent returns the parent domain in lower case and without a trailing
// dot. The error says what it has that a host name has not.
func parseParent(parent string) (string, error) {
	name := strings.TrimSuffix(parent, ".")
	switch {
	case name == "":
		return "", errors.New("it is empty")
	case strings.Contains(name, "://"):
		return "", errors.New("it has a scheme")
	case strings.Contains(name, "*"):
		return "", errors.New("it has a wildcard, which goes without saying")
	case strings.Contains(name, ":"):
		return "", errors.New("it has a port or is an IP address")
	}
	if err := checkName(name); err != nil {
		return "", err
	}
	name = strings.ToLower(name)
	if err := checkLabels(name); err != nil {
		return "", err
	}
	// With the parent "0.0.1" the address 127.0.0.1 would name "127".
	if endsInNumber(name) {
		return "", errors.New("it ends in a number, as an IP address does")
	}
	return name, nil
}
