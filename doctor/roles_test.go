package doctor_test

import (
	"testing"

	"github.com/tenantry/tenantry/doctor"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
)

func TestALoginThatMayTooMuchIsFound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		attribute string
		want      []string
		severity  doctor.Severity
	}{
		{"superuser createrole bypassrls", []string{"login-superuser"}, doctor.Problem},
		{"bypassrls nocreaterole", []string{"login-bypassrls"}, doctor.Warning},
		{"createrole", []string{"login-createrole"}, doctor.Warning},
		{"nocreaterole", nil, doctor.Info},
	} {
		t.Run(c.attribute, func(t *testing.T) {
			t.Parallel()
			s := on(t, pgtest.DSN(t))
			s.plant(t, "alter role "+s.login+" "+c.attribute)
			s.open(t, s.dsn, plugin.BySchema())
			if f := s.mustFind(t, c.want); c.want != nil {
				mustSay(t, f, c.severity, s.login)
			}
		})
	}
}

func TestATenantsRoleThatMayTooMuchIsFound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, id, sql, want string }{
		{"login", "acme", "alter role $role login", "login"},
		{"inherit", "globex", "alter role $role inherit", "inherit"},
		{"superuser", "acme", "alter role $role superuser", "superuser"},
		{"several", "globex", "alter role $role createdb createrole bypassrls replication", "bypassrls, createrole, createdb, replication"},
		{"member", "acme", "grant pg_monitor to $role", "member of pg_monitor"},
		{"member of another tenant's", "globex", "grant $acme to $role", "member of acme_"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := withCatalog(t, pgtest.DSN(t))
			role := s.tenant(t, c.id).Role
			s.plant(t, expand(c.sql, "$role", role, "$acme", s.tenant(t, "acme").Role))
			t.Cleanup(func() { s.plant(t, "alter role "+role+" nosuperuser noreplication nobypassrls") }) // or the catalog may not drop it
			mustSay(t, s.mustFind(t, []string{"tenant-role"}), doctor.Problem, role+" ("+c.want)
		})
	}
}
