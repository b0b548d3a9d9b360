package doctor_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/doctor"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
)

// add gives the catalog the server eu, in another database, with two logins.
func (s *system) add(t testing.TB, other *system) {
	t.Helper()
	other.splitLogins(t)
	s.addServer(t, catalog.NewServer{Name: "eu", ConnString: other.dsn, ServingConnString: other.servingDSN})
}

func (s *system) addServer(t testing.TB, n catalog.NewServer) {
	t.Helper()
	if err := s.catalog.AddServer(t.Context(), n); err != nil {
		t.Fatal(err)
	}
}

func TestATenantOfAnotherServerThatIsGoneIsFound(t *testing.T) {
	t.Parallel()
	other := on(t, pgtest.DSN(t))
	s := withCatalog(t, pgtest.DSN(t))
	s.add(t, other)
	s.create(t, catalog.New{ID: "initech", Server: "eu"})
	s.mustFind(t, nil)
	lost := s.tenant(t, "initech").Schema
	other.plant(t, "drop schema "+lost+" cascade")
	mustSay(t, s.mustFind(t, []string{"tenant-unreachable"}), doctor.Problem, "initech (server eu)", "3F000")
	s.create(t, catalog.New{ID: "umbrella", Server: "eu"}) // who can tell what is there
	mustSay(t, s.mustFind(t, []string{"tenant-lost"}), doctor.Problem, "initech (schema "+lost+") (server eu)")
}

func TestWhatHasNoRowOnAnotherServerIsFound(t *testing.T) {
	t.Parallel()
	server := pgtest.Server(t)
	other := on(t, server.DSN())
	s := withCatalog(t, pgtest.DSN(t))
	s.add(t, other)
	s.create(t, catalog.New{ID: "initech", Server: "eu"})
	s.create(t, catalog.New{ID: "umbrella", Server: "eu", Kind: catalog.OwnDatabase})
	mark := "tenantry " + s.identity(t) + " tenant hooli"
	other.plant(t, "create schema hooli", "create role hooli noinherit", "create database hooli", "create schema tenant_of_another_program")
	s.mustFind(t, nil)
	other.plant(t, "comment on schema hooli is '"+mark+"'", "comment on database hooli is '"+mark+"'", "comment on role hooli is '"+mark+"'")
	mustSay(t, s.mustFind(t, []string{"orphan"}), doctor.Warning, "database hooli, role hooli, schema hooli (server eu).")
}

func (s *system) identity(t testing.TB) (id string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.admin)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := conn.QueryRow(t.Context(), "select id from tenantry.identity").Scan(&id); err != nil {
		t.Fatal(err)
	}
	return id
}

func TestAServerThatIsDownTakesNothingFromTheOtherFindings(t *testing.T) {
	t.Parallel()
	server := pgtest.Server(t)
	s := withCatalog(t, pgtest.DSN(t))
	s.addServer(t, catalog.NewServer{Name: "eu", ConnString: server.DSN()})
	for _, id := range []string{"initech", "umbrella", "hooli", "vandelay"} {
		s.create(t, catalog.New{ID: id, Server: "eu"})
	}
	s.create(t, catalog.New{ID: "stark", Server: "eu", Kind: catalog.OwnDatabase})
	mustSay(t, s.mustFind(t, []string{"one-login"}), doctor.Warning, "on server eu they log in as its administrator")
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.plant(t, "delete from tenantry.tenants where server = 'eu'") })
	s.plant(t, "create schema tenant_gone")
	f := s.mustFind(t, []string{"tenant-unreachable", "one-login", "orphan"})
	mustSay(t, f, doctor.Problem, "hooli (server eu), initech (server eu), stark (server eu), umbrella (server eu).", "ChangeServer")
	if strings.Contains(f.What, "vandelay") {
		t.Errorf("more were asked than needed: %s", f.What)
	}
}

func TestATenantOfTheMainServerWhoseStatementsFailIsFound(t *testing.T) {
	t.Parallel()
	s := withCatalog(t, pgtest.DSN(t))
	acme, globex := s.tenant(t, "acme"), s.tenant(t, "globex")
	s.plant(t, "revoke usage on schema "+acme.Schema+" from "+acme.Role, "alter database "+globex.Database+" connection limit 0")
	mustSay(t, s.mustFind(t, []string{"tenant-unreachable"}), doctor.Problem, "fail: acme, globex.", "53300")
}
