package catalog_test

import (
	"strings"
	"testing"

	"github.com/tenantry/tenantry/catalog"
)

func TestParseHost(t *testing.T) {
	t.Parallel()
	label := strings.Repeat("a", 63)
	long := strings.Repeat(label+".", 3) + strings.Repeat("b", 61) // 253 characters
	for name, want := range map[string]catalog.Host{
		"acme":                 {Name: "acme"},
		"ACME":                 {Name: "acme"},
		"acme.":                {Name: "acme"},
		"3com":                 {Name: "3com"},
		"42":                   {Name: "42"},
		"a-b":                  {Name: "a-b"},
		label:                  {Name: label},
		"Portal.Acme.Example.": {Name: "portal.acme.example", Domain: true},
		"xn--mnchen-3ya.de":    {Name: "xn--mnchen-3ya.de", Domain: true},
		long:                   {Name: long, Domain: true},
		"1.2.3.com":            {Name: "1.2.3.com", Domain: true},
	} {
		got, err := catalog.ParseHost(name)
		if err != nil || got != want || got.String() != want.Name {
			t.Errorf("%q: got %+v, %v", name, got, err)
		}
	}
	for _, name := range []string{
		"", ".", "..", "a..b", ".acme", "acme..", "-acme", "acme-", "a.-b.c", "a_b", "a b", "münchen.de", "acme:8080",
		"https://acme", "acme/", "*.acme.example", "10.0.0.1", "acme.42", "[::1]", "::1", "a\x00b", "\u212Aelvin", label + "a", long + "b",
	} {
		if got, err := catalog.ParseHost(name); err == nil {
			t.Errorf("%q is taken as %+v", name, got)
		}
	}
}

func FuzzParseHost(f *testing.F) {
	for _, s := range []string{"acme", "Portal.Acme.example.", "a..b", "10.0.0.1", "\u212Aelvin.example"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		host, err := catalog.ParseHost(name)
		if err != nil {
			if host != (catalog.Host{}) {
				t.Errorf("%q: an error with %+v", name, host)
			}
			return
		}
		again, err := catalog.ParseHost(host.Name)
		if err != nil || again != host {
			t.Errorf("%q is %+v, which is %+v, %v", name, host, again, err)
		}
		if host.Domain != strings.Contains(host.Name, ".") || len(host.Name) > 253 || host.Name == "" {
			t.Errorf("%q: got %+v", name, host)
		}
	})
}
