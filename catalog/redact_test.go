package catalog_test

import (
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// wrongPassword is what PostgreSQL says to one.
const wrongPassword = "28P01"

// mustBeRedacted checks that err says what the server said, and that no error in it has a
// field with the configuration of the connection.
func mustBeRedacted(t *testing.T, what string, err error, code string, secrets ...string) {
	t.Helper()
	if got := sqlState(err); err == nil || got != code {
		t.Errorf("%s: got error %v with code %q, want %q", what, err, got, code)
	}
	var failed *pgconn.ConnectError
	if errors.As(err, &failed) {
		t.Errorf("%s: the error %v holds a configuration", what, err)
	}
	var unparsed *pgconn.ParseConfigError
	if errors.As(err, &unparsed) {
		t.Errorf("%s: the error %v holds a connection string", what, err)
	}
	mustPrintWithout(t, what, err, secrets...)
}

func TestErrorsOfConnectingHoldNoPassword(t *testing.T) {
	t.Parallel()
	const secret = "correct-horse-battery"
	dsn, key := pgtest.Database(t), testKey(t, "k1")
	c := open(t, dsn, catalog.WithKeys(catalog.FixedKeys{key}))
	wrong := login(t, dsn, admin(t, dsn).Config().ConnConfig.User, secret, nameIn(t, dsn))
	pools, err := plugin.NewPools()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pools.Close() })
	down := "postgres://boss:" + secret + "@127.0.0.1:1/x?sslmode=disable"
	for server, code := range map[string]string{wrong: wrongPassword, down: "", "postgres://boss:" + secret + "@[/x": ""} {
		_, err := catalog.Open(t.Context(), server, catalog.WithKeys(catalog.FixedKeys{}))
		mustBeRedacted(t, "Open", err, code, secret)
		mustBeRedacted(t, "AddServer", c.AddServer(t.Context(), catalog.NewServer{Name: "b", ConnString: server}), code, secret)
		_, err = pools.Place(t.Context(), plugin.Database{Server: server})
		mustBeRedacted(t, "Place", err, code, secret)
	}
	tenant := create(t, c, ownDatabase(unique("changed")))
	password, _ := passwordOf(t, bare(t, dsn, key), tenant.ID.String())
	execute(t, admin(t, dsn), "alter role "+tenant.Role+" password 'another'")
	db := use(t, dsn, c, nil).WithContext(as(t, tenant.ID.String()))
	mustBeRedacted(t, "a statement", db.Exec("select 1").Error, wrongPassword, password)
	mustBeRedacted(t, "a transaction", db.Begin().Error, wrongPassword, password)
}

// TestErrorsHoldNoPasswordWhenTheAdministratorsHasChanged while the service runs, on
// the master's server and on another one.
func TestErrorsHoldNoPasswordWhenTheAdministratorsHasChanged(t *testing.T) {
	t.Parallel()
	master, superMaster := administrator(t)
	shared, superShared := administrator(t)
	c := open(t, master)
	mustAdd(t, c, catalog.NewServer{Name: "b", ConnString: shared})
	db, here, there := use(t, master, c, nil), unique("here"), unique("there")
	create(t, c, catalog.New{ID: here, Server: catalog.Main})
	create(t, c, catalog.New{ID: there, Server: "b"})
	works(t, db, here)
	change(t, superShared, shared)
	refused(t, "a statement on another server", func() error { return db.WithContext(as(t, there)).Exec("select 1").Error })
	refused(t, "Create on another server", func() error {
		_, err := c.Create(t.Context(), catalog.New{ID: unique("new"), Server: "b"})
		return err
	})
	refused(t, "Drop on another server", func() error { return c.Drop(t.Context(), parse(t, there), there) })
	change(t, superMaster, master)
	refused(t, "a statement", func() error { return db.WithContext(as(t, here)).Exec("select 1").Error })
	refused(t, "a shared statement", func() error { return db.WithContext(scope.Shared(t.Context())).Exec("select 1").Error })
	refused(t, "a transaction", func() error { return db.WithContext(as(t, here)).Begin().Error })
	refused(t, "Create", func() error { _, err := c.Create(t.Context(), catalog.New{ID: here}); return err })
	refused(t, "Get", func() error { _, err := c.Get(t.Context(), parse(t, here)); return err })
	refused(t, "Suspend", func() error { return c.Suspend(t.Context(), parse(t, here)) })
	refused(t, "Servers", func() error { _, err := c.Servers(t.Context()); return err })
	refused(t, "Lookup", func() error { _, err := c.Lookup(t.Context(), subdomain(unique("new"))); return err })
	refused(t, "Ping", func() error { return c.Ping(t.Context()) })
}

// change gives the login in dsn another password until the test ends, and ends its
// connections.
func change(t *testing.T, super *pgxpool.Pool, dsn string) {
	t.Helper()
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	execute(t, super, "alter role "+cfg.User+" password 'another'")
	t.Cleanup(func() { execute(t, super, "alter role "+cfg.User+" password '"+cfg.Password+"'") })
	execute(t, super, "select pg_terminate_backend(pid) from pg_stat_activity where usename = $1", cfg.User)
}

// refused calls f until its error is that the password is wrong: connections that
// were open may first be found to be cut.
func refused(t *testing.T, what string, f func() error) {
	t.Helper()
	var err error
	eventually(t, what+" is refused", func() bool { err = f(); return sqlState(err) == wrongPassword })
	mustBeRedacted(t, what, err, wrongPassword)
}

// TestAPasswordThatIsTakenForADatabaseIsNotShown: a "/" in it that is not escaped
// ends the host.
func TestAPasswordThatIsTakenForADatabaseIsNotShown(t *testing.T) {
	t.Parallel()
	c, _, _ := service(t)
	for _, server := range []string{
		"postgres://boss:47119/correct-horse@127.0.0.1:5432/app",
		"postgresql://boss:47119/correct@horse@127.0.0.1/app?sslmode=disable",
	} {
		_, openErr := catalog.Open(t.Context(), server, catalog.WithKeys(catalog.FixedKeys{}))
		addErr := c.AddServer(t.Context(), catalog.NewServer{Name: "b", ConnString: server})
		for _, d := range []plugin.Database{{Server: server}, {Server: server, Name: "app", User: "u", Password: "p"}} {
			_, err := d.Config()
			mustBeHidden(t, "Config", err)
			mustPrintWithout(t, "the database", d, "47119", "correct", "horse")
		}
		mustBeHidden(t, "Open", openErr)
		mustBeHidden(t, "AddServer", addErr)
	}
}

func mustBeHidden(t *testing.T, what string, err error) {
	t.Helper()
	mustSay(t, err, "password", "shown")
	mustPrintWithout(t, what, err, "47119", "correct", "horse")
}
