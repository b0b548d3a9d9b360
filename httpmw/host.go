package httpmw

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

const (
	maxName  = 253 // bytes in a host name without the trailing dot (RFC 1035, section 2.3.4)
	maxLabel = 63  // bytes in one label of it
)

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

// isLabel reports whether label, which checkName let pass, is a label of a host
// name in the strict sense of RFC 1123, section 2.1.
func isLabel(label string) bool {
	return !strings.Contains(label, "_") && label[0] != '-' && label[len(label)-1] != '-'
}
