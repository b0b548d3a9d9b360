package catalog

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tenantry/tenantry/httpmw"
)

// Host is a name under which a tenant is served: a subdomain of the service, such
// as "acme", or a full domain of the customer's, such as "portal.acme.example".
// No two tenants have the same.
type Host struct {
	Name   string
	Domain bool // a full domain; otherwise the label of a subdomain
}

// String returns the name.
func (h Host) String() string { return h.Name }

// ParseHost reads a host from its name: with a dot it is a full domain, without
// one a subdomain. Names are lower-cased ASCII; international ones are written in
// their xn-- form (RFC 5891). The error says what is wrong with the name.
func ParseHost(name string) (Host, error) {
	name = strings.Map(lower, strings.TrimSuffix(name, "."))
	if len(name) > 253 {
		return Host{}, errors.New("a host name has at most 253 characters")
	}
	last := ""
	for label := range strings.SplitSeq(name, ".") {
		if err := checkLabel(label); err != nil {
			return Host{}, err
		}
		last = label
	}
	domain := strings.Contains(name, ".")
	if domain && strings.Trim(last, "0123456789") == "" {
		return Host{}, errors.New("it ends in a number, as an IP address does")
	}
	return Host{Name: name, Domain: domain}, nil
}

// lower leaves alone what is not ASCII: strings.ToLower makes a 'k' of the sign
// for kelvin.
func lower(r rune) rune {
	if 'A' <= r && r <= 'Z' {
		return r - 'A' + 'a'
	}
	return r
}

// checkLabel refuses what is no DNS label (RFC 1123, section 2.1).
func checkLabel(label string) error {
	switch {
	case label == "":
		return errors.New("a host name has no empty labels")
	case len(label) > 63:
		return fmt.Errorf("%q has more than 63 characters", label)
	case strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "":
		return fmt.Errorf("%q has other characters than letters, digits and '-'", label)
	case label[0] == '-' || label[len(label)-1] == '-':
		return fmt.Errorf("%q begins or ends with '-'", label)
	}
	return nil
}

// ref returns how a request names the host.
func (h Host) ref() httpmw.Ref {
	if h.Domain {
		return httpmw.Ref{Kind: httpmw.KindHost, Value: h.Name}
	}
	return httpmw.Ref{Kind: httpmw.KindSubdomain, Value: h.Name}
}
