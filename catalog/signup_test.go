package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
)

// attempt is one sign-up of many, and how it ended.
type attempt struct {
	new catalog.New
	err error
}

// TestSignUpUnderLoad signs many tenants up at once, in two processes' catalogs:
// for names of their own, for one name, and for one host.
func TestSignUpUnderLoad(t *testing.T) {
	t.Parallel()
	const names, databases, rivals = 200, 40, 20
	dsn, key := pgtest.Database(t), testKey(t, "k1")
	opts := []catalog.Option{catalog.WithRoles(), catalog.WithKeys(catalog.FixedKeys{key})}
	processes := []*catalog.Catalog{open(t, dsn, opts...), open(t, dsn, opts...)}
	prefix := unique("load")
	kind := func(i, of int) catalog.Kind {
		if i%of == 0 {
			return catalog.OwnDatabase
		}
		return catalog.OwnSchema
	}
	var own, oneName, oneHost []*attempt
	for i := range names {
		own = append(own, &attempt{new: catalog.New{ID: fmt.Sprintf("%s-%d", prefix, i), Kind: kind(i, names/databases)}})
	}
	for i := range rivals {
		host := fmt.Sprintf("%s-name-%d", prefix, i)
		oneName = append(oneName, &attempt{new: catalog.New{ID: prefix + "-name", Hosts: []string{host}, Kind: kind(i, 2)}})
		id := fmt.Sprintf("%s-host-%d", prefix, i)
		oneHost = append(oneHost, &attempt{new: catalog.New{ID: id, Hosts: []string{id, prefix + "-host"}, Kind: kind(i, 2)}})
	}
	signUp(t.Context(), processes, own, oneName, oneHost)

	for _, a := range own {
		if a.err != nil {
			t.Errorf("%s: %v", a.new.ID, a.err)
		}
	}
	oneWins(t, "id", oneName)
	oneWins(t, "host", oneHost)
	c, pool := processes[0], admin(t, dsn)
	mustMatch(t, c, pool, prefix)
	if n := one[int](t, pool, "select count(*)::int from tenantry.tenants where state = 'active'"); n != names+2 {
		t.Errorf("%d tenants are active, want %d", n, names+2)
	}
	if n := len(templates(t, pool)); n != 1 {
		t.Errorf("%d templates, want one", n)
	}
	db := use(t, dsn, processes[1], nil)
	for _, a := range []*attempt{own[0], own[1], oneName[0]} {
		works(t, db, a.new.ID)
	}
	for _, a := range own {
		if got, err := c.Lookup(t.Context(), subdomain(a.new.ID)); err != nil || got.String() != a.new.ID {
			t.Errorf("%s: got %v, %v", a.new.ID, got, err)
		}
	}
}

// signUp makes all attempts at once, one half in each process.
func signUp(ctx context.Context, processes []*catalog.Catalog, groups ...[]*attempt) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for _, group := range groups {
		for i, a := range group {
			wg.Go(func() {
				<-start
				_, a.err = processes[i%len(processes)].Create(ctx, a.new)
			})
		}
	}
	close(start)
	wg.Wait()
}

// oneWins checks that one attempt has got what all want, and that the others were
// told so.
func oneWins(t *testing.T, field string, attempts []*attempt) {
	t.Helper()
	won := 0
	for _, a := range attempts {
		var input *catalog.InputError
		switch {
		case a.err == nil:
			won++
		case !errors.Is(a.err, catalog.ErrTaken) || !errors.As(a.err, &input) || input.Field != field:
			t.Errorf("%+v: got error %v", a.new, a.err)
		}
	}
	if won != 1 {
		t.Errorf("%d sign-ups have got one of %s, want exactly one", won, field)
	}
}
