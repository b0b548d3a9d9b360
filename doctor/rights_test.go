package doctor_test

import (
	"testing"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/doctor"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
)

func TestATenantsSchemaThatIsOpenToOthersIsFound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, sql, back, want string }{
		{"everybody", "grant usage on schema $schema to public", "revoke all on schema $schema from public", "usage on $schema to everybody"},
		{"another tenant", "grant usage on schema $schema to $other", "revoke all on schema $schema from $other", "usage on $schema to $other"},
		{"itself", "grant create on schema $schema to $own", "revoke create on schema $schema from $own", "create on $schema to $own"},
		{"as the owner", "alter schema $schema owner to $own", "alter schema $schema owner to $login; grant usage on schema $schema to $own", "ownership on $schema to $own"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := withCatalog(t, pgtest.DSN(t))
			s.create(t, catalog.New{ID: "initech"})
			acme := s.tenant(t, "acme")
			names := []string{"$schema", acme.Schema, "$other", s.tenant(t, "initech").Role, "$own", acme.Role, "$login", s.login}
			s.plant(t, expand(c.sql, names...))
			mustSay(t, s.mustFind(t, []string{"tenant-schema-rights"}), doctor.Problem, expand(c.want, names...))
			s.plant(t, expand(c.back, names...))
			s.mustFind(t, nil)
		})
	}
}

func TestATenantsDatabaseThatIsOpenToOthersIsFound(t *testing.T) {
	t.Parallel()
	s := withCatalog(t, pgtest.DSN(t))
	globex := s.tenant(t, "globex")
	names := []string{"$database", globex.Database, "$other", s.tenant(t, "acme").Role, "$own", globex.Role}
	for _, c := range []struct{ sql, back, want string }{
		{"grant connect on database $database to public", "revoke all on database $database from public", "connect on $database to everybody"},
		{"grant temporary on database $database to $other", "revoke all on database $database from $other", "temporary on $database to $other"},
		{"grant create on database $database to $own", "revoke create on database $database from $own", "create on $database to $own"},
	} {
		s.plant(t, expand(c.sql, names...))
		mustSay(t, s.mustFind(t, []string{"tenant-database-rights"}), doctor.Problem, expand(c.want, names...))
		s.plant(t, expand(c.back, names...))
		s.mustFind(t, nil)
	}
}

func TestACatalogThatIsOpenIsFound(t *testing.T) {
	t.Parallel()
	s := withCatalog(t, pgtest.DSN(t))
	reporter := unique("reporter")
	s.plant(t, "create role "+reporter, "grant usage on schema tenantry to "+reporter)
	t.Cleanup(func() { s.plant(t, "drop owned by "+reporter, "drop role "+reporter) })
	s.mustFind(t, nil) // it is no tenant's
	for _, who := range []string{"public", s.tenant(t, "acme").Role, s.serving} {
		s.plant(t, "grant usage on schema tenantry to "+who)
		mustSay(t, s.mustFind(t, []string{"catalog-rights"}), doctor.Problem, "usage on tenantry to ")
		s.plant(t, "revoke usage on schema tenantry from "+who)
	}
	s.mustFind(t, nil)
}

func TestALoginThatMayBecomeASuperuserIsFound(t *testing.T) {
	t.Parallel()
	s := on(t, pgtest.DSN(t))
	boss, between := unique("boss"), unique("between")
	s.plant(t, "alter role "+s.login+" nocreaterole", "create role "+boss+" superuser", "create role "+between+" noinherit role "+s.login)
	t.Cleanup(func() { s.plant(t, "drop role "+boss+", "+between) })
	s.open(t, s.dsn, plugin.BySchema())
	s.mustFind(t, nil)
	for _, role := range []string{boss, "pg_execute_server_program"} {
		s.plant(t, "grant "+role+" to "+between)
		mustSay(t, s.mustFind(t, []string{"login-superuser"}), doctor.Problem, "a member of "+role+",")
		s.plant(t, "revoke "+role+" from "+between)
	}
}
