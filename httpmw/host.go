package httpmw

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
)

const (
	maxName  = 253 // bytes in a host name without the trailing dot (RFC 1035, section 2.3.4)
	maxLabel = 63  // bytes in one label of it
)

// Host reads the whole host name, for tenants with a domain of their own: the
// host "portal.customer.com" names just that, as [KindHost]. Case, a port and a
// trailing dot do not matter.
//
//   - An IP address, a host of one label such as "localhost", one that ends in a
//     number and no host name no tenant.
//   - A host that cannot be a DNS name is malformed.
//
// Where tenants have subdomains too, ask for these first:
//
//	httpmw.First(httpmw.Subdomain("myservice.com"), httpmw.Host())
//
// Then a host below myservice.com is a subdomain or malformed, so that a tenant
// who has entered another's "globex.myservice.com" as a custom domain never
// answers there. Only the parents themselves get as far as Host, also one that
// lies below another: the [Directory] must let no tenant have these, and must know
// a custom domain only once its owner has proved that it is theirs.
//
// The host is that of the request, as for [Subdomain].
func Host() Resolver {
	return Resolver{resolve: func(r *http.Request) (Ref, error) { return customDomain(r.Host) }}
}

func customDomain(host string) (Ref, error) {
	name, err := hostname(host)
	if err != nil {
		return Ref{}, err
	}
	switch {
	case !strings.Contains(name, "."):
		return Ref{}, fmt.Errorf("%w: host %q has a single label", ErrNoTenant, name)
	case endsInNumber(name):
		return Ref{}, fmt.Errorf("%w: host %q ends in a number, as an IP address does", ErrNoTenant, name)
	}
	if err := checkLabels(name); err != nil {
		return Ref{}, fmt.Errorf("%w: host %q: %w", ErrMalformed, name, err)
	}
	return Ref{Kind: KindHost, Value: name}, nil
}

// hostname returns the name in a Host header (RFC 9110, section 7.2): in lower
// case, without port and trailing dot. The error matches ErrNoTenant for an
// empty host and for an IP address, and ErrMalformed for what is no host.
func hostname(host string) (string, error) {
	if host == "" {
		return "", fmt.Errorf("%w: the request has no host", ErrNoTenant)
	}
	name, err := cutPort(host)
	if err != nil {
		return "", fmt.Errorf("%w: host: %w", ErrMalformed, err)
	}
	if isIP(name) {
		return "", fmt.Errorf("%w: the host is an IP address", ErrNoTenant)
	}
	name = strings.TrimSuffix(name, ".")
	if err := checkName(name); err != nil {
		return "", fmt.Errorf("%w: host: %w", ErrMalformed, err)
	}
	return strings.ToLower(name), nil
}

// cutPort returns host without its port. The port may be empty, as in
// "myservice.com:" (RFC 3986, section 3.2.3).
func cutPort(host string) (string, error) {
	i := strings.LastIndexByte(host, ':')
	if i < 0 || i < strings.LastIndexByte(host, ']') || isIP(host) {
		return host, nil
	}
	name, port := host[:i], host[i+1:]
	if port == "" {
		return name, nil
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", errors.New("its port is not a number from 0 to 65535")
	}
	return name, nil
}

// isIP reports whether name is an IP address; IPv6 may stand in brackets.
func isIP(name string) bool {
	inner, open := strings.CutPrefix(name, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	addr, err := netip.ParseAddr(inner)
	return err == nil && open == closed && (!open || addr.Is6())
}

// checkName looks at the form of a host name that may be any host's. It allows
// '_' and hyphens anywhere, because hosts of other domains have them. It lets
// ASCII pass only: strings.ToLower turns the Kelvin sign into a "k".
func checkName(name string) error {
	if len(name) > maxName {
		return fmt.Errorf("it has %d bytes, at most %d are allowed", len(name), maxName)
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" {
			return fmt.Errorf("%q has an empty label", name)
		}
		if len(label) > maxLabel {
			return fmt.Errorf("%q has a label of %d bytes, at most %d are allowed", name, len(label), maxLabel)
		}
		for _, c := range label {
			if notHost(c) {
				return fmt.Errorf("%q has %q, which no host name has", name, c)
			}
		}
	}
	return nil
}

func notHost(c rune) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		return false
	}
	return true
}

// checkLabels looks closer at a name that checkName let pass: every label must
// be one in the strict sense.
func checkLabels(name string) error {
	for label := range strings.SplitSeq(name, ".") {
		if !isLabel(label) {
			return fmt.Errorf("%q is not a DNS label", label)
		}
	}
	return nil
}

// endsInNumber reports whether the last label of name is a number, which no
// domain's is. "127.1" is an address too for many clients.
func endsInNumber(name string) bool {
	return strings.Trim(name[strings.LastIndexByte(name, '.')+1:], "0123456789") == ""
}

// isLabel reports whether label, which checkName let pass, is a label of a host
// name in the strict sense of RFC 1123, section 2.1.
func isLabel(label string) bool {
	return !strings.Contains(label, "_") && label[0] != '-' && label[len(label)-1] != '-'
}
