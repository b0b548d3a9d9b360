package catalog_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/catalog"
)

func labels(n int) map[string]string {
	all := map[string]string{}
	for i := range n {
		all[fmt.Sprint(i)] = ""
	}
	return all
}

func hosts(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("host-%d", i))
	}
	return all
}

// mustRefuse fails unless err is an *InputError for field that matches want.
func mustRefuse(t testing.TB, err error, field string, want error) {
	t.Helper()
	var input *catalog.InputError
	if !errors.As(err, &input) || input.Field != field || !errors.Is(err, want) {
		t.Errorf("got %v, want an InputError for %s that matches %q", err, field, want)
	}
}

func TestCreateRefusesWhatHasAnotherForm(t *testing.T) {
	t.Parallel()
	c, _, dsn := service(t)
	text := strings.Repeat("ä", 100) // of 200 bytes
	for name, test := range map[string]struct {
		field string
		n     catalog.New
	}{
		"no id":                 {"id", catalog.New{}},
		"an id in upper case":   {"id", catalog.New{ID: "Acme"}},
		"an id of 49":           {"id", catalog.New{ID: strings.Repeat("a", 49)}},
		"an id with a quote":    {"id", catalog.New{ID: `a"; drop schema tenantry; --`}},
		"a digit first":         {"id", catalog.New{ID: "3com"}},
		"a long name":           {"name", catalog.New{ID: "acme", Name: strings.Repeat("ä", 201)}},
		"a blank name":          {"name", catalog.New{ID: "acme", Name: " \u00a0 "}},
		"a name of two lines":   {"name", catalog.New{ID: "acme", Name: "a\nb"}},
		"a name with a zero":    {"name", catalog.New{ID: "acme", Name: "a\x00b"}},
		"a name not in UTF-8":   {"name", catalog.New{ID: "acme", Name: "a\xffb"}},
		"a bad host":            {"host", catalog.New{ID: "acme", Hosts: []string{"acme", "a..b"}}},
		"an empty host":         {"host", catalog.New{ID: "acme", Hosts: []string{""}}},
		"a host twice":          {"host", catalog.New{ID: "acme", Hosts: []string{"acme", "ACME."}}},
		"101 hosts":             {"host", catalog.New{ID: "acme", Hosts: hosts(101)}},
		"an id that is no host": {"host", catalog.New{ID: "a_"}},
		"33 labels":             {"labels", catalog.New{ID: "acme", Labels: labels(33)}},
		"an empty label":        {"labels", catalog.New{ID: "acme", Labels: map[string]string{"": "a"}}},
		"a long label":          {"labels", catalog.New{ID: "acme", Labels: map[string]string{text + "a": "a"}}},
		"a long value":          {"labels", catalog.New{ID: "acme", Labels: map[string]string{"a": text + "a"}}},
		"a label with a zero":   {"labels", catalog.New{ID: "acme", Labels: map[string]string{"a": "\x00"}}},
		"a label not in UTF-8":  {"labels", catalog.New{ID: "acme", Labels: map[string]string{"a": "\xff"}}},
		"another kind":          {"kind", catalog.New{ID: "acme", Kind: "row"}},
		"another server":        {"server", catalog.New{ID: "acme", Server: "nowhere"}},
	} {
		_, err := c.Create(t.Context(), test.n)
		t.Log(name+":", err)
		mustRefuse(t, err, test.field, catalog.ErrInvalid)
	}
	if n := one[int](t, admin(t, dsn), "select count(*) from tenantry.tenants"); n != 0 {
		t.Errorf("%d tenants are there", n)
	}
}

func TestCreateTakesWhatIsJustWithinTheLimits(t *testing.T) {
	t.Parallel()
	c, _, _ := service(t)
	text := strings.Repeat("ä", 100)
	all := labels(31)
	all[text] = text
	id := strings.Repeat("a", 47) + "b"
	for _, n := range []catalog.New{
		{ID: id, Name: strings.Repeat("ä", 200), Hosts: hosts(100), Labels: all},
		{ID: "pg_catalog", Hosts: []string{"pg"}}, // PostgreSQL keeps such names for itself
		{ID: "b", Name: `"; drop schema tenantry; -- \' $$`, Labels: map[string]string{`"'{}`: `\"null`}, Hosts: []string{"3com"}},
		{ID: id[1:] + "_", Hosts: []string{"long-database"}, Kind: catalog.OwnDatabase},
	} {
		tenant := create(t, c, n)
		name := n.Name
		if name == "" {
			name = n.ID
		}
		if tenant.Name != name || len(tenant.Hosts) != len(n.Hosts) || tenant.Primary().Name != n.Hosts[0] {
			t.Errorf("got %+v", tenant)
		}
		if fmt.Sprint(tenant.Labels) != fmt.Sprint(n.Labels) {
			t.Errorf("got labels %q", tenant.Labels)
		}
	}
}

func TestTheDefaultHostIsTheID(t *testing.T) {
	t.Parallel()
	c, _, _ := service(t, catalog.WithMigrations(noTables()))
	for id, want := range map[string]string{"acme": "acme", "a_b": "a-b"} { // no host has a '_'
		if tenant := create(t, c, catalog.New{ID: id}); len(tenant.Hosts) != 1 || tenant.Primary().Name != want {
			t.Errorf("got %v", tenant.Hosts)
		}
	}
	_, err := c.Create(t.Context(), catalog.New{ID: "a-b"})
	mustRefuse(t, err, "host", catalog.ErrTaken)
}

func TestReservedNamesAreNotForCustomers(t *testing.T) {
	t.Parallel()
	c, _, _ := service(t, catalog.WithReserved("vip", "xn--80ak6aa92e", "myservice.com"), catalog.WithReserved("partners.example"))
	for _, name := range append(catalog.Reserved(), "vip") {
		if _, err := c.Create(t.Context(), catalog.New{ID: name, Hosts: []string{"free"}}); !errors.Is(err, catalog.ErrReserved) {
			t.Errorf("id %s: %v", name, err)
		}
	}
	for _, host := range append(catalog.Reserved(),
		"vip", "VIP", "www.", "xn--80ak6aa92e", "myservice.com", "MyService.com.", "acme.myservice.com", "a.b.myservice.com", "shop.partners.example") {
		_, err := c.Create(t.Context(), catalog.New{ID: "acme", Hosts: []string{"free", host}})
		mustRefuse(t, err, "host", catalog.ErrReserved)
	}
	tenant := create(t, c, catalog.New{ID: "acme", Hosts: []string{"free", "notmyservice.com", "www.acme.example", "vip.acme.example", "myservice.com.example"}})
	mustRefuse(t, c.Rename(t.Context(), tenant.ID, "", "www"), "host", catalog.ErrReserved)
}

func TestWithReservedRefusesWhatCanNotMatch(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "Admin", "myservice.com.", "*.myservice.com", "a b", "https://a"} {
		_, err := catalog.Open(t.Context(), "", catalog.WithReserved(name))
		mustSay(t, err, "WithReserved")
	}
}

func TestTakenIDsAndHosts(t *testing.T) {
	t.Parallel()
	c, _, dsn := service(t)
	create(t, c, catalog.New{ID: "acme", Hosts: []string{"acme", "portal.acme.example"}})
	other := create(t, c, catalog.New{ID: "other"})
	_, err := c.Create(t.Context(), catalog.New{ID: "acme", Hosts: []string{"free"}})
	mustRefuse(t, err, "id", catalog.ErrTaken)
	for _, host := range []string{"acme", "ACME", "acme.", "portal.acme.example", "Portal.ACME.example."} {
		_, err := c.Create(t.Context(), catalog.New{ID: "globex", Kind: catalog.OwnDatabase, Hosts: []string{"globex", host}})
		mustRefuse(t, err, "host", catalog.ErrTaken)
		var input *catalog.InputError
		if want := strings.TrimSuffix(strings.ToLower(host), "."); errors.As(err, &input) && input.Value != want {
			t.Errorf("%s: the value is %q, want %q", host, input.Value, want)
		}
		mustRefuse(t, c.Rename(t.Context(), other.ID, "Renamed", "free", host), "host", catalog.ErrTaken)
	}
	got, err := c.Get(t.Context(), other.ID)
	if err != nil || got.Name != "other" || got.Primary().Name != "other" {
		t.Errorf("a refused Rename changed the tenant to %+v, %v", got, err)
	}
	pool := admin(t, dsn)
	if n := one[int](t, pool, "select count(*) from tenantry.tenants"); n != 2 {
		t.Errorf("%d tenants are there", n)
	}
	if n := one[int](t, pool, "select count(*) from tenantry.databases where kind = 'database'"); n != 0 {
		t.Errorf("%d databases are entered", n)
	}
	create(t, c, catalog.New{ID: "globex"}) // what was refused has left nothing
}

func TestInputErrorsSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	err := &catalog.InputError{Field: "id", Value: "www", Reason: "it is ours", Err: catalog.ErrReserved}
	if got := err.Error(); got != `catalog: reserved id "www": it is ours` {
		t.Error(got)
	}
	err = &catalog.InputError{Field: "connection string", Err: catalog.ErrTaken}
	if got := err.Error(); got != "catalog: taken connection string" {
		t.Error(got)
	}
}
