package doctor_test

import (
	"strings"
	"testing"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/doctor"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
)

// expand puts names into SQL.
func expand(sql string, pairs ...string) string { return strings.NewReplacer(pairs...).Replace(sql) }

func TestWhatHasNoRowIsFound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, id, want string }{
		{"a schema and its role", "acme", "role acme_"},
		{"a database", "globex", "database globex_"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := withCatalog(t, pgtest.DSN(t))
			lost := s.tenant(t, c.id)
			s.plant(t, "create table kept as select * from tenantry.tenants", "create table hosts as select * from tenantry.hosts", "delete from tenantry.tenants where id = '"+c.id+"'")
			t.Cleanup(func() {
				s.plant(t, "insert into tenantry.tenants select * from kept on conflict do nothing", "insert into tenantry.hosts select * from hosts on conflict do nothing")
			})
			f := s.mustFind(t, []string{"orphan"})
			mustSay(t, f, doctor.Warning, c.want, lost.Role)
			if got := strings.Contains(f.What, "schema "+lost.Schema); got != (lost.Kind == catalog.OwnSchema) {
				t.Errorf("got %s", f.What)
			}
		})
	}
}

func TestASchemaNamedLikeATenantsIsFound(t *testing.T) {
	t.Parallel()
	s := withCatalog(t, pgtest.DSN(t))
	s.plant(t, "create schema tenant_gone", "create schema customer_gone", "create schema reports")
	mustSay(t, s.mustFind(t, []string{"orphan"}), doctor.Warning, "schema tenant_gone.")
	mustSay(t, s.mustFind(t, []string{"orphan"}, doctor.WithSchemaPrefix("customer_")), doctor.Warning, "schema customer_gone.")
}

func TestWhatARowPromisesAndIsGoneIsFound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, id, sql, want string }{
		{"a schema", "acme", "drop schema $name cascade", "acme (schema $name)"},
		{"a database", "globex", "drop database $name with (force)", "globex (database $name)"},
		{"a database whose drop was cut off", "globex", "update pg_database set datconnlimit = -2 where datname = '$name'", "globex (database $name)"},
		{"a role", "acme", "drop owned by $name; drop role $name", "acme (role $name)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := withCatalog(t, pgtest.DSN(t))
			name := s.tenant(t, c.id).Role // all that a tenant has has one name
			for sql := range strings.SplitSeq(expand(c.sql, "$name", name), "; ") {
				s.plant(t, sql)
			}
			mustSay(t, s.mustFind(t, []string{"tenant-lost"}), doctor.Problem, expand(c.want, "$name", name))
		})
	}
}

func TestASuspendedTenantIsInOrder(t *testing.T) {
	t.Parallel()
	s := withCatalog(t, pgtest.DSN(t))
	if err := s.catalog.Suspend(t.Context(), s.tenant(t, "acme").ID); err != nil {
		t.Fatal(err)
	}
	s.mustFind(t, nil)
}

func TestTenantsThatWereCutOffAreFound(t *testing.T) {
	t.Parallel()
	s := withCatalog(t, pgtest.DSN(t))
	for state, found := range map[string]bool{"failed": true, "provisioning": false, "deleting": false} {
		s.plant(t, "update tenantry.tenants set state = '"+state+"', updated_at = now() where id = 'acme'")
		if found {
			mustSay(t, s.mustFind(t, []string{"tenant-unfinished"}), doctor.Warning, "1 tenant was", "acme ("+state+")")
			continue
		}
		s.mustFind(t, nil) // somebody is at work on it
		s.plant(t, "update tenantry.tenants set updated_at = now() - interval '1 hour' where id = 'acme'")
		mustSay(t, s.mustFind(t, []string{"tenant-unfinished"}), doctor.Warning, "acme ("+state+")", "Repair")
	}
	s.plant(t, "update tenantry.tenants set state = 'active', failure = '' where id = 'acme'")
}

func TestTablesThatStandInTwoPlacesAreFound(t *testing.T) {
	t.Parallel()
	s := on(t, pgtest.DSN(t))
	s.plant(t, "alter role "+s.login+" nocreaterole",
		"create schema tenant_acme authorization "+s.login, "create table tenant_acme.invoices (id bigint)", "create table tenant_acme.migrations (id text)",
		"create schema tenant_globex", "create table tenant_globex.invoices (id bigint)", "create table tenant_globex.plans (id bigint)",
		"create schema extensions", "grant usage on schema extensions to "+s.login, "create table public.migrations (id text)")
	s.open(t, s.dsn, plugin.BySchema(plugin.WithSharedSchemas("extensions")))
	s.mustFind(t, nil)
	s.plant(t, "create table public.plans (id bigint)")
	mustSay(t, s.mustFind(t, []string{"twin-table"}), doctor.Warning, "public.plans (1 tenant)")
	s.plant(t, "create view extensions.invoices as select 1")
	mustSay(t, s.mustFind(t, []string{"shadowed-table", "twin-table"}), doctor.Problem, "extensions.invoices (2 tenants)")
}

func TestTheCatalogsSharedSchemasAreKnown(t *testing.T) {
	t.Parallel()
	s := bare(t, pgtest.DSN(t), catalog.WithSharedSchemas("lookup"))
	s.plant(t, "create schema lookup authorization "+s.login)
	s.create(t, catalog.New{ID: "acme"})
	s.mustFind(t, nil)
	s.plant(t, "create table lookup.invoices (id bigint)")
	mustSay(t, s.mustFind(t, []string{"shadowed-table"}), doctor.Problem, "lookup.invoices (1 tenant)")
}
