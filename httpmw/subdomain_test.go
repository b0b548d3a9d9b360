package httpmw_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/httpmw"
)

func TestSubdomainReadsTheLabelBelowAParent(t *testing.T) {
	v := httpmw.Subdomain("MyService.com.", "eu.myservice.com", "localhost")
	long := strings.Repeat("a", 63)
	for name, tc := range map[string]struct{ host, want string }{
		"plain":                     {"acme.myservice.com", "acme"},
		"with a port":               {"acme.myservice.com:8080", "acme"},
		"with an empty port":        {"acme.myservice.com:", "acme"},
		"in upper case":             {"ACME.MyService.COM", "acme"},
		"with a trailing dot":       {"acme.myservice.com.", "acme"},
		"with all three":            {"Acme.myservice.com.:443", "acme"},
		"below the nested parent":   {"acme.eu.myservice.com", "acme"},
		"below a one-label parent":  {"acme.localhost:3000", "acme"},
		"digits first":              {"3com.myservice.com", "3com"},
		"with hyphens":              {"a--b.myservice.com", "a--b"},
		"one character":             {"a.myservice.com", "a"},
		"63 characters":             {long + ".myservice.com", long},
		"international":             {"xn--mnchen-3ya.myservice.com", "xn--mnchen-3ya"},
		"named like the parent":     {"myservice.myservice.com", "myservice"},
		"named like a parent's tld": {"com.myservice.com", "com"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := v.Resolve(request(tc.host))
			if want := (httpmw.Ref{Kind: httpmw.KindSubdomain, Value: tc.want}); err != nil || got != want {
				t.Errorf("%q: got %v, %v; want %v", tc.host, got, err, want)
			}
		})
	}
}

func TestSubdomainOfHostsThatNameNoTenant(t *testing.T) {
	v := httpmw.Subdomain("myservice.com", "eu.myservice.com")
	for name, host := range map[string]string{
		"empty":                         "",
		"the parent":                    "myservice.com",
		"the parent with everything":    "MYSERVICE.com.:8080",
		"the nested parent":             "eu.myservice.com",
		"another domain":                "acme.other.com",
		"a longer name of the parent":   "notmyservice.com",
		"a longer name, with a label":   "acme.notmyservice.com",
		"the parent as a prefix":        "acme.myservice.com.evil.com",
		"one label":                     "web",
		"another host with underscores": "my_service:8080",
		"IPv4":                          "127.0.0.1",
		"IPv4 with a port":              "127.0.0.1:8080",
		"IPv6":                          "[::1]",
		"IPv6 with a port":              "[::1]:8080",
		"IPv6 with a zone and a port":   "[fe80::1%eth0]:8080",
		"IPv6 with an escaped zone":     "[fe80::1%25eth0]:8080",
		"IPv6 without brackets":         "2001:db8::1",
		"IPv4 in IPv6":                  "[::ffff:127.0.0.1]:80",
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := v.Resolve(request(host)); !errors.Is(err, httpmw.ErrNoTenant) || got != (httpmw.Ref{}) {
				t.Errorf("%q: got %v, %v; want ErrNoTenant", host, got, err)
			}
		})
	}
}

func TestSubdomainOfMalformedHosts(t *testing.T) {
	v := httpmw.Subdomain("myservice.com", "eu.myservice.com")
	for name, host := range map[string]string{
		"deeper":                       "a.b.myservice.com",
		"much deeper":                  "a.b.c.d.myservice.com",
		"deeper below the nested one":  "a.b.eu.myservice.com",
		"only a dot":                   ".",
		"only a port":                  ":8080",
		"an empty label":               ".myservice.com",
		"two dots":                     "acme..myservice.com",
		"two trailing dots":            "acme.myservice.com..",
		"NUL":                          "ac\x00me.myservice.com",
		"a double quote":               `ac"me.myservice.com`,
		"a single quote":               "ac'me.myservice.com",
		"a space":                      "ac me.myservice.com",
		"a leading space":              " acme.myservice.com",
		"a newline":                    "acme.myservice.com\n",
		"a semicolon":                  "acme;drop.myservice.com",
		"a percent sign":               "%61cme.myservice.com",
		"a slash":                      "acme/x.myservice.com",
		"a user":                       "me@acme.myservice.com",
		"a list":                       "acme.myservice.com,globex.myservice.com",
		"unicode":                      "münchen.myservice.com",
		"unicode that folds to ASCII":  "\u212a.myservice.com",
		"a full-width dot":             "acme\uff0emyservice.com",
		"no UTF-8":                     "\xff.myservice.com",
		"an underscore":                "ac_me.myservice.com",
		"a leading hyphen":             "-acme.myservice.com",
		"a trailing hyphen":            "acme-.myservice.com",
		"only a hyphen":                "-.myservice.com",
		"64 characters":                strings.Repeat("a", 64) + ".myservice.com",
		"254 characters":               strings.Repeat("a.", 120) + "myservice.com.",
		"very long":                    strings.Repeat("a", 1<<20),
		"a port that is a name":        "acme.myservice.com:http",
		"a port that is too large":     "acme.myservice.com:65536",
		"a port with a sign":           "acme.myservice.com:+80",
		"a port before the dot":        "acme.myservice.com:80.",
		"two ports":                    "acme.myservice.com:80:80",
		"brackets around a name":       "[acme.myservice.com]:80",
		"brackets around IPv4":         "[127.0.0.1]:80",
		"brackets around nothing":      "[]",
		"an open bracket":              "[::1",
		"a closing bracket":            "::1]",
		"text after the brackets":      "[::1]x:80",
		"a name after the brackets":    "[::1].myservice.com",
		"a scheme":                     "https://acme.myservice.com",
		"another host with a quote":    `evil".com`,
		"another host with two labels": "a..b",
	} {
		t.Run(name, func(t *testing.T) {
			got, err := v.Resolve(request(host))
			if !errors.Is(err, httpmw.ErrMalformed) || errors.Is(err, httpmw.ErrNoTenant) || got != (httpmw.Ref{}) {
				t.Fatalf("%.80q: got %v, %v; want ErrMalformed", host, got, err)
			}
			if len(err.Error()) > 1000 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}

func TestSubdomainDoesNotLookAtForwardedHosts(t *testing.T) {
	r := request("acme.myservice.com")
	r.Header.Set("X-Forwarded-Host", "globex.myservice.com")
	r.Header.Set("Forwarded", "host=globex.myservice.com")
	got, err := httpmw.Subdomain("myservice.com").Resolve(r)
	if err != nil || got.Value != "acme" {
		t.Errorf("got %v, %v; want acme", got, err)
	}
}

func TestNewRefusesBadParents(t *testing.T) {
	for name, parents := range map[string][]string{
		"none":              nil,
		"an empty one":      {"myservice.com", ""},
		"a dot":             {"."},
		"a leading dot":     {".myservice.com"},
		"two dots":          {"my..service.com"},
		"a scheme":          {"https://myservice.com"},
		"a port":            {"myservice.com:8080"},
		"a path":            {"myservice.com/"},
		"a wildcard":        {"*.myservice.com"},
		"a space":           {"myservice.com "},
		"unicode":           {"münchen.de"},
		"an underscore":     {"my_service.com"},
		"a hyphen":          {"-myservice.com"},
		"IPv4":              {"127.0.0.1"},
		"the end of IPv4":   {"0.0.1"},
		"IPv6":              {"::1"},
		"IPv6 in brackets":  {"[::1]"},
		"64 characters":     {strings.Repeat("a", 64)},
		"too long a domain": {strings.Repeat("a.", 127) + "com"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := httpmw.New(httpmw.Fixed(), httpmw.Subdomain(parents...))
			if err == nil || !strings.HasPrefix(err.Error(), "httpmw: Subdomain: ") {
				t.Errorf("%q: got %v", parents, err)
			}
		})
	}
}

// FuzzSubdomain holds that every label is a DNS label, and that it is the
// host's with nothing but case, port and trailing dot taken away.
func FuzzSubdomain(f *testing.F) {
	for _, host := range []string{
		"", "acme.myservice.com", "ACME.myservice.com.:80", "a.b.myservice.com", "eu.myservice.com",
		"a.eu.myservice.com", "[::1]:80", "[fe80::1%eth0]", "127.0.0.1:1", "a_b.myservice.com", "\u212a.myservice.com",
		"a\x00.myservice.com", ":", "[", "]:", "..", "::1", "-.myservice.com",
	} {
		f.Add(host)
	}
	v := httpmw.Subdomain("myservice.com", "eu.myservice.com", "localhost")
	label := regexp.MustCompile(`\A[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\z`)
	whole := regexp.MustCompile(`\A(?i:myservice\.com|eu\.myservice\.com|localhost)\.?(:[0-9]*)?\z`)
	f.Fuzz(func(t *testing.T, host string) {
		ref, err := v.Resolve(request(host))
		if err != nil {
			if errors.Is(err, httpmw.ErrNoTenant) == errors.Is(err, httpmw.ErrMalformed) || ref != (httpmw.Ref{}) {
				t.Fatalf("%q: got %v, %v; want exactly one of the two errors", host, ref, err)
			}
			return
		}
		if ref.Kind != httpmw.KindSubdomain || !label.MatchString(ref.Value) {
			t.Fatalf("%q: %v is no DNS label", host, ref)
		}
		first, rest, _ := strings.Cut(host, ".")
		if !strings.EqualFold(first, ref.Value) || !whole.MatchString(rest) || whole.MatchString(host) {
			t.Fatalf("%q: got %v", host, ref)
		}
	})
}
