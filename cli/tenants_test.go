package cli_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/cli"
)

// shown is a tenant as JSON.
type shown struct {
	ID, Name, State, Failure, Kind, Server, Database, Schema, Role string

	Hosts     []string
	Labels    map[string]string
	CreatedAt string `json:"created_at"`
	UpdatedAt string `json:"updated_at"`
}

func TestTenantsAreCreatedListedAndShown(t *testing.T) {
	t.Parallel()
	s := newService(t)
	acme, globex := unique("acme"), unique("globex")
	if list := parse[[]shown](t, s.must(t, "tenants", "list", "-o", "json")); len(list) != 0 {
		t.Errorf("got %v, want an empty list", list)
	}
	out := s.must(t, "tenants", "create", acme, "--name", "Acme Corp", "--host", acme+",portal.acme.example", "--label", "plan=gold", "--label", "eu=")
	mustContain(t, out, "name      Acme Corp\n", "state     active\n", "kind      schema\n", "server    main\n",
		"hosts     "+acme+" portal.acme.example\n", "labels    eu= plan=gold\n", "role      "+acme+"_")
	created := parse[shown](t, s.must(t, "tenants", "create", globex, "--kind", "database", "-o", "json"))
	if created.ID != globex || created.Name != globex || created.State != "active" || created.Kind != "database" || created.Schema != "public" ||
		created.Failure != "" || !strings.HasPrefix(created.Database, globex+"_") || created.Role != created.Database || created.Labels == nil {
		t.Errorf("got %+v", created)
	}
	out = s.must(t, "tenants", "list")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], "ID ") || !strings.HasPrefix(lines[1], acme+" ") || !strings.HasPrefix(lines[2], globex+" ") {
		t.Errorf("got:\n%s", out)
	}
	if again := parse[shown](t, s.must(t, "tenants", "show", globex, "-o", "json")); again.CreatedAt != created.CreatedAt || again.Database != created.Database {
		t.Errorf("got %+v, want %+v", again, created)
	}
	for _, c := range []struct {
		flags string
		want  []string
	}{
		{"--label plan=gold", []string{acme}},
		{"--label plan=tin", nil},
		{"--state active --state suspended", []string{acme, globex}},
		{"--state failed", nil},
		{"--server main", []string{acme, globex}},
		{"--server other", nil},
	} {
		var ids []string
		for _, tenant := range parse[[]shown](t, s.must(t, append([]string{"tenants", "list", "-o", "json"}, strings.Fields(c.flags)...)...)) {
			ids = append(ids, tenant.ID)
		}
		if !slices.Equal(ids, c.want) {
			t.Errorf("%s: got %v, want %v", c.flags, ids, c.want)
		}
	}
	if opened, closed := s.opened.Load(), s.closed.Load(); opened != closed {
		t.Errorf("opened %d times, closed %d times", opened, closed)
	}
}

func TestATenantIsChanged(t *testing.T) {
	t.Parallel()
	s := newService(t)
	id := unique("acme")
	s.create(t, id)
	mustContain(t, s.must(t, "tenants", "suspend", id), "state     suspended\n")
	mustContain(t, s.must(t, "tenants", "resume", id), "state     active\n")
	mustContain(t, s.must(t, "tenants", "rename", id, "Acme Corp"), "name      Acme Corp\n")
	s.run(t, "tenants", "rename", id, "").mustEnd(t, cli.ExitUsage, "NAME is empty")
	unknown := unique("nobody")
	for _, line := range [][]string{{"show", unknown}, {"suspend", unknown}, {"resume", unknown}, {"rename", unknown, "x"}, {"hosts", unknown}, {"drop", unknown, "--yes"}} {
		s.run(t, append([]string{"tenants"}, line...)...).mustEnd(t, cli.ExitError, "unknown")
	}
	s.run(t, "tenants", "create", id).mustEnd(t, cli.ExitError, "taken")
}

func TestHostsAreAddedRemovedAndOrdered(t *testing.T) {
	t.Parallel()
	s := newService(t)
	id := unique("acme")
	s.create(t, id)
	type hosts struct {
		Tenant string
		Hosts  []struct {
			Name            string
			Domain, Primary bool
		}
	}
	for _, c := range []struct {
		flags string
		want  []string
	}{
		{"", []string{id}},
		{"--add Portal.Acme.example --add " + id, []string{id, "portal.acme.example"}},
		{"--add x" + id + " --primary portal.acme.example", []string{"portal.acme.example", id, "x" + id}},
		{"--remove " + id + " --remove x" + id, []string{"portal.acme.example"}},
		{"--add " + id + " --remove portal.acme.example", []string{id}},
	} {
		got := parse[hosts](t, s.must(t, append([]string{"tenants", "hosts", id, "-o", "json"}, strings.Fields(c.flags)...)...))
		var names []string
		for i, h := range got.Hosts {
			names = append(names, h.Name)
			if h.Primary != (i == 0) || h.Domain != strings.Contains(h.Name, ".") {
				t.Errorf("%s: got %+v", c.flags, h)
			}
		}
		if got.Tenant != id || !slices.Equal(names, c.want) {
			t.Errorf("%s: got %v, want %v", c.flags, names, c.want)
		}
	}
	for _, c := range []struct{ flags, want string }{
		{"--remove " + id, "at least one host"},
		{"--remove other", "the tenant has no host other"},
		{"--primary other", "the tenant has no host other"},
		{"--add a_b", "has other characters"},
	} {
		s.run(t, append([]string{"tenants", "hosts", id}, strings.Fields(c.flags)...)...).mustEnd(t, cli.ExitUsage, c.want)
	}
	if out := s.must(t, "tenants", "hosts", id); !strings.HasPrefix(out, "HOST") || !strings.Contains(out, id+"  subdomain  yes\n") {
		t.Errorf("got:\n%s", out)
	}
}

func TestDroppingNeedsAConfirmation(t *testing.T) {
	t.Parallel()
	s := newService(t)
	id := unique("acme")
	s.create(t, id)
	s.run(t, "tenants", "drop", id).mustEnd(t, cli.ExitNotConfirmed, "standard input is no terminal: give --yes")
	s.must(t, "tenants", "show", id)
	if out := s.must(t, "tenants", "drop", id, "--yes", "-o", "json"); parse[map[string]string](t, out)["dropped"] != id {
		t.Errorf("got %s", out)
	}
	s.run(t, "tenants", "show", id).mustEnd(t, cli.ExitError, "unknown")
}

func TestBrokenTenantsAreRepaired(t *testing.T) {
	t.Parallel()
	s := newService(t)
	good, bad := unique("good"), unique("bad")
	s.create(t, good, bad)
	type repaired struct{ Tenant, State, Error string }
	if got := parse[[]repaired](t, s.must(t, "tenants", "repair", "--all", "-o", "json")); len(got) != 0 {
		t.Errorf("got %v, want nothing", got)
	}
	change(t, s.dsn, "update tenantry.tenants set state = 'provisioning', activated_at = null where id = $1", bad)
	got := parse[[]repaired](t, s.must(t, "tenants", "repair", "--all", "-o", "json"))
	if len(got) != 1 || got[0] != (repaired{bad, "active", ""}) {
		t.Errorf("got %v", got)
	}
	mustContain(t, s.must(t, "tenants", "repair", good), good+"  active  \n")
	nobody := unique("nobody")
	r := s.run(t, "tenants", "repair", nobody, good)
	r.mustEnd(t, cli.ExitTenants, "1 of 2 tenants could not be repaired")
	mustContain(t, r.out, nobody, "gone", "unknown tenant", good)
}

func TestASuspendedTenantIsListedAsSuch(t *testing.T) {
	t.Parallel()
	s := newService(t)
	id := unique("acme")
	s.create(t, id)
	s.withCatalog(t, func(ctx context.Context, c *catalog.Catalog) error { return c.Suspend(ctx, tenant(t, id)) })
	if got := parse[[]shown](t, s.must(t, "tenants", "list", "--state", "suspended", "-o", "json")); len(got) != 1 || got[0].State != "suspended" {
		t.Errorf("got %+v", got)
	}
}
