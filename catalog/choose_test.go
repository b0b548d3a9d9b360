package catalog_test

import (
	"errors"
	"fmt"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
)

// weakServer returns the connection string of a new database as a role that may
// just log in, the role, and a pool as the administrator.
func weakServer(t *testing.T) (dsn, role string, pool *pgxpool.Pool) {
	t.Helper()
	server := admin(t, pgtest.DSN(t))
	role = unique("weak")
	mustExec(t, server, "create role "+role+" login password 'weak'")
	t.Cleanup(func() { mustExec(t, server, "drop role "+role) }) // behind the database, in which it has rights
	dsn = pgtest.Database(t)
	pool = admin(t, dsn)
	weak, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	weak.User = url.UserPassword(role, "weak")
	return weak.String(), role, pool
}

// granting lets the role make schemas in the database of pool.
func granting(role string) string {
	return fmt.Sprintf("do $$ begin execute format('grant create on database %%I to %s', current_database()); end $$", role)
}

func TestAServerThatCanNotBeReachedGetsNoNewTenants(t *testing.T) {
	t.Parallel()
	dsn, role, pool := weakServer(t)
	mustExec(t, pool, granting(role))
	c, _, _ := service(t)
	if err := c.AddServer(t.Context(), catalog.NewServer{Name: "second", ConnString: dsn}); err != nil {
		t.Fatal(err)
	}
	create(t, c, catalog.New{ID: "first", Server: catalog.Main}) // from now on second has the fewest
	mustExec(t, pool, "alter role "+role+" nologin")
	for i := range 3 {
		if tenant := create(t, c, catalog.New{ID: fmt.Sprintf("t%d", i)}); tenant.Server != catalog.Main {
			t.Errorf("%s is on %s", tenant.ID, tenant.Server)
		}
	}
	_, err := c.Create(t.Context(), catalog.New{ID: "there", Server: "second"})
	mustSay(t, err, `server "second"`)
	full := true
	if err := c.ChangeServer(t.Context(), catalog.Main, catalog.ServerChange{Full: &full}); err != nil {
		t.Fatal(err)
	}
	_, err = c.Create(t.Context(), catalog.New{ID: "nowhere"})
	mustBe(t, err, catalog.ErrNoRoom)
	mustSay(t, err, `server "second"`) // and why it has none
	mustExec(t, pool, "alter role "+role+" login")
	if tenant := create(t, c, catalog.New{ID: "later"}); tenant.Server != "second" {
		t.Errorf("later is on %s", tenant.Server)
	}
}

func TestAServerOnWhichNothingCanBeMadeIsRefused(t *testing.T) {
	t.Parallel()
	dsn, role, pool := weakServer(t)
	c, _, _ := service(t, catalog.WithRoles())
	add := func(name string) error {
		return c.AddServer(t.Context(), catalog.NewServer{Name: name, ConnString: dsn})
	}
	mustSay(t, add("weak"), "may not create schemas", role)
	mustExec(t, pool, granting(role))
	mustSay(t, add("weak"), "may not create roles", "createrole")
	mustExec(t, pool, "alter role "+role+" createrole")
	if err := add("weak"); err != nil {
		t.Error(err)
	}
	mustRefuse(t, add("weak"), "server", catalog.ErrTaken)
	mustRefuse(t, add("other"), "connection string", catalog.ErrTaken)
}

func TestAnIdWhoseMakingHasFailedIsTakenAndSaysSo(t *testing.T) {
	t.Parallel()
	broken := true
	c, _, _ := service(t, catalog.WithMigrations(migrator.Migrations{{ID: "1", Migrate: func(tx *gorm.DB) error {
		if broken {
			return errors.New("not yet")
		}
		return nil
	}}}))
	n := catalog.New{ID: "acme"}
	if _, err := c.Create(t.Context(), n); err == nil {
		t.Fatal("it was made")
	}
	_, err := c.Create(t.Context(), n)
	var state *catalog.StateError
	if !errors.Is(err, catalog.ErrTaken) || !errors.As(err, &state) || state.State != catalog.Failed {
		t.Errorf("got %v", err)
	}
	broken = false
	if err := c.Repair(t.Context(), parse(t, "acme")); err != nil {
		t.Error(err)
	}
	_, err = c.Create(t.Context(), n)
	if !errors.Is(err, catalog.ErrTaken) || errors.As(err, &state) && state.State == catalog.Active {
		t.Errorf("got %v", err)
	}
}
