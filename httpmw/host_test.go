package httpmw_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/httpmw"
)

func TestHostReadsTheWholeName(t *testing.T) {
	long := strings.Repeat("a", 63)
	for name, tc := range map[string]struct{ host, want string }{
		"plain":               {"portal.customer.com", "portal.customer.com"},
		"with a port":         {"portal.customer.com:8080", "portal.customer.com"},
		"with an empty port":  {"portal.customer.com:", "portal.customer.com"},
		"in upper case":       {"Portal.CUSTOMER.com", "portal.customer.com"},
		"with a trailing dot": {"portal.customer.com.", "portal.customer.com"},
		"with all three":      {"Portal.customer.com.:443", "portal.customer.com"},
		"two labels":          {"customer.com", "customer.com"},
		"many labels":         {"a.b.c.d.customer.co.uk", "a.b.c.d.customer.co.uk"},
		"numbers first":       {"10.0.0.1.customer.com", "10.0.0.1.customer.com"},
		"international":       {"kunde.xn--fiqs8s", "kunde.xn--fiqs8s"},
		"63 characters":       {long + ".com", long + ".com"},
		"253 characters":      {strings.Repeat("a.", 125) + "com", strings.Repeat("a.", 125) + "com"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := httpmw.Host().Resolve(request(tc.host))
			if want := (httpmw.Ref{Kind: httpmw.KindHost, Value: tc.want}); err != nil || got != want {
				t.Errorf("%q: got %v, %v; want %v", tc.host, got, err, want)
			}
		})
	}
}

func TestHostOfHostsThatNameNoTenant(t *testing.T) {
	for name, host := range map[string]string{
		"empty":                        "",
		"one label":                    "localhost",
		"one label with everything":    "LocalHost.:8080",
		"one label with an underscore": "my_service:8080",
		"IPv4":                         "127.0.0.1",
		"IPv4 with a port":             "127.0.0.1:8080",
		"IPv4 with a trailing dot":     "127.0.0.1.",
		"IPv4 in a short form":         "127.1",
		"IPv4 as one number":           "2130706433",
		"IPv4 that is none":            "1.2.3.256:80",
		"a number at the end":          "customer.1",
		"IPv6":                         "[::1]",
		"IPv6 with a port":             "[::1]:8080",
		"IPv6 with a zone and a port":  "[fe80::1%eth0]:8080",
		"IPv6 without brackets":        "2001:db8::1",
		"IPv4 in IPv6":                 "[::ffff:127.0.0.1]:80",
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := httpmw.Host().Resolve(request(host)); !errors.Is(err, httpmw.ErrNoTenant) || got != (httpmw.Ref{}) {
				t.Errorf("%q: got %v, %v; want ErrNoTenant", host, got, err)
			}
		})
	}
}

func TestHostOfMalformedHosts(t *testing.T) {
	for name, host := range map[string]string{
		"only a dot":                  ".",
		"only a port":                 ":8080",
		"an empty label":              ".customer.com",
		"two dots":                    "portal..customer.com",
		"two trailing dots":           "portal.customer.com..",
		"NUL":                         "portal\x00.customer.com",
		"a quote":                     "portal'.customer.com",
		"a space":                     " portal.customer.com",
		"a newline":                   "portal.customer.com\n",
		"a slash":                     "portal.customer.com/x",
		"a list":                      "portal.customer.com,portal.other.com",
		"a wildcard":                  "*.customer.com",
		"a scheme":                    "https://portal.customer.com",
		"unicode":                     "münchen.de",
		"unicode that folds to ASCII": "portal.\u212aunde.com",
		"an underscore":               "my_portal.customer.com",
		"a leading hyphen":            "-portal.customer.com",
		"a trailing hyphen":           "portal.customer-.com",
		"a hyphen at the end":         "portal.customer.com-",
		"64 characters":               strings.Repeat("a", 64) + ".com",
		"254 characters":              strings.Repeat("a.", 125) + "info",
		"very long":                   strings.Repeat("a", 1<<20) + ".com",
		"a port that is a name":       "portal.customer.com:http",
		"a port that is too large":    "portal.customer.com:65536",
		"two ports":                   "portal.customer.com:80:80",
		"brackets around a name":      "[portal.customer.com]:80",
		"an open bracket":             "[::1",
	} {
		t.Run(name, func(t *testing.T) {
			got, err := httpmw.Host().Resolve(request(host))
			if !errors.Is(err, httpmw.ErrMalformed) || errors.Is(err, httpmw.ErrNoTenant) || got != (httpmw.Ref{}) {
				t.Fatalf("%.80q: got %v, %v; want ErrMalformed", host, got, err)
			}
			if len(err.Error()) > 1000 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}

func TestHostDoesNotLookAtForwardedHosts(t *testing.T) {
	r := request("portal.customer.com")
	r.Header.Set("X-Forwarded-Host", "portal.other.com")
	r.Header.Set("Forwarded", "host=portal.other.com")
	got, err := httpmw.Host().Resolve(r)
	if err != nil || got.Value != "portal.customer.com" {
		t.Errorf("got %v, %v; want portal.customer.com", got, err)
	}
}

// The parents themselves are what the documentation of Host warns of.
func TestHostBehindSubdomainGetsNothingBelowAParent(t *testing.T) {
	v := httpmw.First(httpmw.Subdomain("myservice.com", "eu.myservice.com"), httpmw.Host())
	for host, want := range map[string]struct {
		ref httpmw.Ref
		err error
	}{
		"portal.customer.com":       {httpmw.Ref{Kind: httpmw.KindHost, Value: "portal.customer.com"}, nil},
		"acme.myservice.com":        {httpmw.Ref{Kind: httpmw.KindSubdomain, Value: "acme"}, nil},
		"Acme.MyService.com.:443":   {httpmw.Ref{Kind: httpmw.KindSubdomain, Value: "acme"}, nil},
		"acme.eu.myservice.com":     {httpmw.Ref{Kind: httpmw.KindSubdomain, Value: "acme"}, nil},
		"a.acme.myservice.com":      {httpmw.Ref{}, httpmw.ErrMalformed},
		"a_b.myservice.com":         {httpmw.Ref{}, httpmw.ErrMalformed},
		"localhost:8080":            {httpmw.Ref{}, httpmw.ErrNoTenant},
		"[::1]:8080":                {httpmw.Ref{}, httpmw.ErrNoTenant},
		"myservice.com":             {httpmw.Ref{Kind: httpmw.KindHost, Value: "myservice.com"}, nil},
		"eu.myservice.com":          {httpmw.Ref{Kind: httpmw.KindHost, Value: "eu.myservice.com"}, nil},
		"acme.myservice.com.ev.com": {httpmw.Ref{Kind: httpmw.KindHost, Value: "acme.myservice.com.ev.com"}, nil},
	} {
		t.Run(host, func(t *testing.T) {
			if got, err := v.Resolve(request(host)); !errors.Is(err, want.err) || got != want.ref {
				t.Errorf("got %v, %v; want %v, %v", got, err, want.ref, want.err)
			}
		})
	}
}

// FuzzHost holds that every name is a DNS name of two labels or more, and the
// host with nothing but case, port and trailing dot taken away.
func FuzzHost(f *testing.F) {
	for _, host := range []string{
		"", "portal.customer.com", "PORTAL.customer.com.:80", "localhost", "[::1]:80", "[fe80::1%eth0]", "127.0.0.1:1",
		"127.1", "1.2.3.4.", "a_b.customer.com", "\u212a.customer.com", "a\x00.com", ":", "[", "]:", "..", "::1", "-.com", "a.b-",
	} {
		f.Add(host)
	}
	name := regexp.MustCompile(`\A([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\z`)
	number := regexp.MustCompile(`\.[0-9]+\z`)
	rest := regexp.MustCompile(`\A\.?(:[0-9]*)?\z`)
	f.Fuzz(func(t *testing.T, host string) {
		ref, err := httpmw.Host().Resolve(request(host))
		if err != nil {
			if errors.Is(err, httpmw.ErrNoTenant) == errors.Is(err, httpmw.ErrMalformed) || ref != (httpmw.Ref{}) {
				t.Fatalf("%q: got %v, %v; want exactly one of the two errors", host, ref, err)
			}
			return
		}
		if ref.Kind != httpmw.KindHost || !name.MatchString(ref.Value) || len(ref.Value) > 253 || number.MatchString(ref.Value) {
			t.Fatalf("%q: %v is no DNS name", host, ref)
		}
		if n := len(ref.Value); !strings.EqualFold(host[:n], ref.Value) || !rest.MatchString(host[n:]) {
			t.Fatalf("%q: got %v", host, ref)
		}
	})
}
