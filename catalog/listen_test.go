package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/httpmw"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
)

// pair is two catalogs on one master, as in two processes. Both listen.
func pair(t *testing.T) (a, b *catalog.Catalog, master *pgxpool.Pool) {
	t.Helper()
	dsn := pgtest.Database(t)
	key := testKey(t, "k")
	a, b = open(t, dsn, catalog.WithKeys(catalog.FixedKeys{key})), bare(t, dsn, key)
	listening(t, a)
	listening(t, b)
	return a, b, admin(t, dsn)
}

// sees waits until c answers a lookup with want; nil is a tenant.
func sees(t testing.TB, c *catalog.Catalog, ref httpmw.Ref, want error) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s is %v", ref, want), func() bool {
		_, err := c.Lookup(t.Context(), ref)
		return errors.Is(err, want) && (err == nil) == (want == nil)
	})
}

func TestChangesByAnotherProcessAreSeenAtOnce(t *testing.T) {
	t.Parallel()
	a, b, master := pair(t)
	sees(t, b, subdomain("acme"), catalog.ErrUnknown)
	sees(t, b, domain("portal.acme.example"), catalog.ErrUnknown)
	tenant := create(t, a, catalog.New{ID: "acme", Hosts: []string{"acme", "portal.acme.example"}})
	sees(t, b, subdomain("acme"), nil)
	sees(t, b, domain("portal.acme.example"), nil)
	if err := a.Suspend(t.Context(), tenant.ID); err != nil {
		t.Fatal(err)
	}
	sees(t, b, subdomain("acme"), catalog.ErrSuspended)
	if err := a.Resume(t.Context(), tenant.ID); err != nil {
		t.Fatal(err)
	}
	sees(t, b, subdomain("acme"), nil)
	sees(t, b, subdomain("new"), catalog.ErrUnknown)
	if err := a.Rename(t.Context(), tenant.ID, "", "new"); err != nil {
		t.Fatal(err)
	}
	sees(t, b, subdomain("new"), nil)
	sees(t, b, subdomain("acme"), catalog.ErrUnknown)
	for _, now := range []struct {
		state catalog.State
		want  error
	}{{catalog.Suspended, catalog.ErrSuspended}, {catalog.Deleting, catalog.ErrUnknown}, {catalog.Active, nil}} {
		mustExec(t, master, "update tenantry.tenants set state = $1", now.state)
		sees(t, a, idRef("acme"), now.want)
		sees(t, b, idRef("acme"), now.want)
	}
	mustExec(t, master, "insert into tenantry.hosts (name, tenant) values ('by.hand', 'acme')")
	sees(t, b, domain("by.hand"), nil)
	mustExec(t, master, "update tenantry.hosts set name = 'by.foot' where name = 'by.hand'")
	sees(t, b, domain("by.foot"), nil)
	sees(t, b, domain("by.hand"), catalog.ErrUnknown)
	mustExec(t, master, "delete from tenantry.hosts where name = 'by.foot'")
	sees(t, b, domain("by.foot"), catalog.ErrUnknown)
	mustExec(t, master, "select pg_notify('tenantry', 'No Tenant')") // it may come from anybody
	if err := a.Drop(t.Context(), tenant.ID, "acme"); err != nil {
		t.Fatal(err)
	}
	sees(t, b, subdomain("new"), catalog.ErrUnknown)
	if !a.Stats().Listening || !b.Stats().Listening {
		t.Error("they listen no more")
	}
}

// hangUp ends all listening connections and returns how many there were.
func hangUp(t testing.TB, master *pgxpool.Pool) int {
	t.Helper()
	return one[int](t, master, `select count(pg_terminate_backend(pid)) from pg_stat_activity
		where datname = current_database() and pid <> pg_backend_pid() and query ilike 'listen tenantry%'`)
}

func TestNothingIsStaleAfterALostConnection(t *testing.T) {
	t.Parallel()
	a, b, master := pair(t)
	tenant := create(t, a, catalog.New{ID: "acme"})
	for range 2 {
		sees(t, b, subdomain("acme"), nil)
		sees(t, b, subdomain("new"), catalog.ErrUnknown)
		if n := hangUp(t, master); n != 2 {
			t.Fatalf("%d were listening", n)
		}
		eventually(t, "they notice", func() bool { return !a.Stats().Listening && !b.Stats().Listening })
		// b has doubts now, and asks again: what it hears of from here on is lost.
		sees(t, b, subdomain("acme"), nil)
		sees(t, b, subdomain("new"), catalog.ErrUnknown)
		mustExec(t, master, "update tenantry.tenants set state = 'suspended'")
		mustExec(t, master, "insert into tenantry.hosts (name, tenant) values ('new', 'acme')")
		listening(t, b)
		for _, name := range []string{"acme", "new"} {
			if _, err := b.Lookup(t.Context(), subdomain(name)); !errors.Is(err, catalog.ErrSuspended) {
				t.Errorf("%s: %v", name, err)
			}
		}
		listening(t, a)
		if err := a.Rename(t.Context(), tenant.ID, "", "acme"); err != nil {
			t.Fatal(err)
		}
		if err := a.Resume(t.Context(), tenant.ID); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCloseEndsAListenerThatWaits(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	for _, lost := range []bool{false, true} { // waiting for a notification, or to connect again
		c, err := catalog.Open(t.Context(), dsn, catalog.WithKeys(catalog.FixedKeys{}))
		if err != nil {
			t.Fatal(err)
		}
		listening(t, c)
		if lost {
			hangUp(t, admin(t, dsn))
			eventually(t, "it notices", func() bool { return !c.Stats().Listening })
		}
		ctx, cancel := context.WithTimeout(t.Context(), listenEnd)
		closed := context.AfterFunc(ctx, func() { t.Error("Close takes its time") })
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		closed()
		cancel()
	}
	if n := one[int](t, admin(t, dsn), "select count(*) from pg_stat_activity where datname = current_database() and query ilike 'listen%'"); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

// listenEnd is ample time for a Close that has nothing to wait for.
const listenEnd = 10 * time.Second
