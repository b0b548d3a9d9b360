package catalog_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
)

// TestARecordThatIsServedOnTakesNoHostBack: a host has gone from one tenant to
// another, this process knows of that only for the other, and the master falls
// silent.
func TestARecordThatIsServedOnTakesNoHostBack(t *testing.T) {
	t.Parallel()
	dsn, key := pgtest.Database(t), testKey(t, "k1")
	var logged record
	c := open(t, dsn, catalog.WithKeys(catalog.FixedKeys{key}), catalog.WithTTL(time.Millisecond), catalog.WithLogger(logged.logger()))
	other, pool := bare(t, dsn, key), admin(t, dsn)
	a, b := parse(t, unique("a")), parse(t, unique("b"))
	create(t, c, catalog.New{ID: a.String(), Hosts: []string{"wanted"}})
	create(t, c, catalog.New{ID: b.String(), Hosts: []string{"b"}})
	listening(t, c)
	for _, table := range []string{"tenants", "hosts"} { // no notification comes
		execute(t, pool, "alter table tenantry."+table+" disable trigger user")
	}
	sees(t, c, idRef(a.String()), nil)
	if err := errors.Join(other.Rename(t.Context(), a, "", "a"), other.Rename(t.Context(), b, "", "wanted")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the host leads to b", func() bool {
		got, err := c.Lookup(t.Context(), subdomain("wanted"))
		return err == nil && got == b
	})
	execute(t, pool, "alter table tenantry.hosts rename to hosts_gone")
	eventually(t, "a is served as it was known", func() bool {
		got, err := c.Lookup(t.Context(), idRef(a.String()))
		return err == nil && got == a && strings.Contains(logged.String(), "tenant="+a.String())
	})
	if got, err := c.Lookup(t.Context(), subdomain("wanted")); err != nil || got != b {
		t.Errorf("the host leads to %v, %v", got, err)
	}
	execute(t, pool, "alter table tenantry.hosts_gone rename to hosts")
}

// TestCallsThatWaitForOneTenantDoNotHoldLookupsUp: they take all connections that
// calls have, which are not those of lookups.
func TestCallsThatWaitForOneTenantDoNotHoldLookupsUp(t *testing.T) {
	t.Parallel()
	c, _, dsn := service(t)
	pool, a, b := admin(t, dsn), unique("a"), unique("b")
	create(t, c, catalog.New{ID: a})
	create(t, c, catalog.New{ID: b})
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer func() { _ = tx.Rollback(context.Background()) }()
	if _, err := tx.Exec(t.Context(), "update tenantry.tenants set name = 'x' where id = $1", a); err != nil {
		t.Fatal(err)
	}
	for range 30 {
		wg.Go(func() {
			if err := c.Suspend(context.WithoutCancel(t.Context()), parse(t, a)); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "no connection is left for another call", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		return waiting(t, pool) >= 8 && errors.Is(c.Resume(ctx, parse(t, b)), context.DeadlineExceeded)
	})
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	for _, id := range []string{b, a} { // the first is cold
		if got, err := c.Lookup(ctx, idRef(id)); err != nil || got.String() != id {
			t.Errorf("%s: got %v, %v", id, got, err)
		}
	}
}

func TestTheMasterRefusesLabelsThatAreNoStrings(t *testing.T) {
	t.Parallel()
	c, _, dsn := service(t, catalog.WithMigrations(noTables()))
	pool, id := admin(t, dsn), unique("labelled")
	create(t, c, catalog.New{ID: id, Labels: map[string]string{"plan": "free"}})
	for _, labels := range []string{
		`{"seats": 5}`, `{"plan": "free", "seats": 5}`, `{"seats": null}`, `{"seats": true}`, `{"seats": ["5"]}`, `{"seats": {"n": "5"}}`,
		`[]`, `["plan"]`, `"plan"`, `5`, `null`,
	} {
		_, err := pool.Exec(t.Context(), "update tenantry.tenants set labels = $1", labels)
		if sqlState(err) != "23514" {
			t.Errorf("%s: got error %v", labels, err)
		}
	}
	for _, labels := range []string{`{}`, `{"": ""}`, `{"plan": "5", "note": "null"}`} {
		execute(t, pool, "update tenantry.tenants set labels = $1", labels)
		if _, err := c.Get(t.Context(), parse(t, id)); err != nil {
			t.Errorf("%s: %v", labels, err)
		}
	}
}

// TestARefusedLoginAsksTheMasterOnceASecond and lets it alone for names that nobody
// has.
func TestARefusedLoginAsksTheMasterOnceASecond(t *testing.T) {
	t.Parallel()
	c, db, dsn := service(t)
	tenant := create(t, c, ownDatabase(unique("shut")))
	execute(t, admin(t, dsn), "alter role "+tenant.Role+" nologin")
	listening(t, c)
	sees(t, c, idRef(tenant.ID.String()), nil)
	sees(t, c, subdomain("nobody"), catalog.ErrUnknown)
	before, start := c.Stats(), time.Now()
	for range 500 {
		if err := db.WithContext(as(t, tenant.ID.String())).Exec("select 1").Error; sqlState(err) != "28000" {
			t.Fatalf("got error %v", err)
		}
		_, err := c.Lookup(t.Context(), subdomain("nobody"))
		mustBe(t, err, catalog.ErrUnknown)
	}
	// A second begins, and the memory of a name ends, at any time meanwhile.
	seconds := uint64(time.Since(start).Seconds()) + 2
	after := c.Stats()
	if got := after.Misses - before.Misses; got > 2*seconds {
		t.Errorf("%d questions in %d seconds", got, seconds)
	}
	if got := after.Unknown - before.Unknown; got+seconds < 500 {
		t.Errorf("%d of 500 lookups of a name that nobody has were answered from memory", got)
	}
}
