package doctor_test

import (
	"strings"
	"testing"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/doctor"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
)

// reopen opens the catalog with other options, and GORM with a connection string.
func (s *system) reopen(t *testing.T, dsn string, opts ...catalog.Option) {
	t.Helper()
	before := s.catalog
	var err error
	opts = append(opts, catalog.WithKeys(s.keys), catalog.WithoutTemplates(), catalog.WithMigrations(migrations()))
	if s.catalog, err = catalog.Open(t.Context(), s.dsn, opts...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = before.Close() })
	s.open(t, dsn, s.catalog.Strategy())
}

func TestOneLoginIsFound(t *testing.T) {
	t.Parallel()
	s := withCatalog(t, pgtest.DSN(t))
	s.mustFind(t, nil)
	acme := s.tenant(t, "acme").Schema
	for _, c := range []struct{ sql, back, want string }{
		{"alter role $serving createrole", "alter role $serving nocreaterole", `"$serving" has CREATEROLE`},
		{"alter role $serving createdb", "alter role $serving nocreatedb", `"$serving" has CREATEDB`},
		{"alter table $acme.invoices owner to $serving", "alter table $acme.invoices owner to $login", `"$serving" owns tables or schemas of tenants ($acme)`},
		{"alter schema $acme owner to $serving", "alter schema $acme owner to $login", "($acme)"},
	} {
		names := []string{"$serving", s.serving, "$login", s.login, "$acme", acme}
		s.plant(t, expand(c.sql, names...))
		mustSay(t, s.mustFind(t, []string{"one-login"}), doctor.Warning, expand(c.want, names...))
		s.plant(t, expand(c.back, names...))
		s.mustFind(t, nil)
	}
	s.reopen(t, s.dsn, catalog.WithRoles())
	mustSay(t, s.mustFind(t, []string{"one-login"}), doctor.Warning, `they log in as "`+s.login+`", like the catalog, which has no serving role`)
}

func TestAServingRoleThatDoesNotServeIsFound(t *testing.T) {
	t.Parallel()
	s := withCatalog(t, pgtest.DSN(t))
	s.open(t, s.dsn, s.catalog.Strategy())
	mustSay(t, s.mustFind(t, []string{"serving-role"}), doctor.Problem, s.login, "with the serving role \""+s.serving+`"`)
	s.open(t, s.servingDSN, s.catalog.Strategy())
	s.mustFind(t, nil)
	s.plant(t, "revoke "+s.tenant(t, "acme").Role+" from "+s.serving+" granted by "+s.login)
	f := s.mustFind(t, []string{"serving-role", "tenant-unreachable"})
	mustSay(t, f, doctor.Problem, "lacks rights on tenants: acme.", "Repair")
	if strings.Contains(f.What, "globex") {
		t.Errorf("a database has a login of its own: %s", f.What)
	}
	s.mustRepair(t)
}

func (s *system) mustRepair(t *testing.T) {
	t.Helper()
	if err := s.catalog.Repair(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.mustFind(t, nil)
}

func TestAServingRoleWithoutASchemaIsFound(t *testing.T) {
	t.Parallel()
	s := bare(t, pgtest.DSN(t))
	s.reopen(t, s.servingDSN, catalog.WithServingRole(s.serving))
	s.create(t, catalog.New{ID: "initech"}) // without a role
	s.mustFind(t, nil)
	s.plant(t, "revoke usage on schema "+s.tenant(t, "initech").Schema+" from "+s.serving)
	mustSay(t, s.mustFind(t, []string{"serving-role", "tenant-unreachable"}), doctor.Problem, "lacks rights on tenants: initech.")
	s.mustRepair(t)
}
