package catalog_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
)

// sealedWith counts the secrets that the key with the given id has sealed.
const sealedWith = `select count(*) from (
	select password as s from tenantry.tenants union all select conn from tenantry.servers
) s where substr(s, 3, get_byte(s, 1)) = convert_to($1, 'UTF8')`

func TestAfterResealTheOldKeyCanGo(t *testing.T) {
	t.Parallel()
	old, next := testKey(t, "2026"), testKey(t, "2027")
	master, pool := fleet(t, old, next)
	if n := one[int](t, pool, sealedWith, "2026"); n != 3 {
		t.Fatalf("%d are sealed with the old key", n)
	}
	before := one[string](t, pool, "select jsonb_agg(to_jsonb(t) - 'password' - 'updated_at' order by id)::text from tenantry.tenants t")
	both := bare(t, master, next, old)
	for _, want := range []int{3, 0} {
		if n, err := both.Reseal(t.Context()); err != nil || n != want {
			t.Errorf("got %d, %v, want %d", n, err, want)
		}
	}
	after := one[string](t, pool, "select jsonb_agg(to_jsonb(t) - 'password' - 'updated_at' order by id)::text from tenantry.tenants t")
	if before != after {
		t.Errorf("other columns have changed:\n%s\n%s", before, after)
	}
	if n := one[int](t, pool, sealedWith, "2027"); n != 3 {
		t.Errorf("%d are sealed with the new key", n)
	}
	alone := bare(t, master, next)
	for id, err := range placeErrors(t, alone) {
		if err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	rest := bare(t, master, old)
	for id, err := range placeErrors(t, rest) {
		if id != "schema" && err == nil {
			t.Errorf("%s opens with the old key still", id)
		}
	}
}

// countdownKeys ends a context when they have been asked for a number of times.
type countdownKeys struct {
	catalog.FixedKeys
	left   *atomic.Int64
	cancel context.CancelFunc
}

func (k countdownKeys) Keys(ctx context.Context) ([]catalog.Key, error) {
	if k.left.Add(-1) == 0 {
		k.cancel()
	}
	return k.FixedKeys.Keys(ctx)
}

func TestResealCanBeCutOffAnywhere(t *testing.T) {
	t.Parallel()
	old, next := testKey(t, "2026"), testKey(t, "2027")
	master, pool := fleet(t, old, next)
	total, cut := 0, 0
	for asks := int64(1); total < 3; asks++ {
		ctx, cancel := context.WithCancel(t.Context())
		left := &atomic.Int64{}
		left.Store(asks)
		c, err := catalog.Open(t.Context(), master, catalog.WithKeys(countdownKeys{catalog.FixedKeys{next, old}, left, cancel}))
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Reseal(ctx)
		cancel()
		if err != nil {
			mustBe(t, err, context.Canceled)
			cut++
		}
		total = one[int](t, pool, sealedWith, "2027")
		for id, err := range placeErrors(t, c) {
			if err != nil {
				t.Errorf("%s, after %d of 3: %v", id, total, err)
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if cut == 0 {
		t.Error("it was never cut off")
	}
}

func TestResealWhileTenantsComeAndChange(t *testing.T) {
	t.Parallel()
	old, next := testKey(t, "2026"), testKey(t, "2027")
	other := pgtest.Database(t)
	master := pgtest.Database(t)
	before := bare(t, master, old, next) // a key goes into all rings before it is the newest in one
	after := open(t, master, catalog.WithKeys(catalog.FixedKeys{next, old}), catalog.WithMigrations(noTables()))
	if err := before.AddServer(t.Context(), catalog.NewServer{Name: "b", ConnString: other}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			c := before
			if i%2 == 0 {
				c = after
			}
			id := fmt.Sprintf("t%d", i)
			if _, err := c.Create(t.Context(), catalog.New{ID: id, Kind: catalog.OwnDatabase, Server: "b"}); err != nil {
				t.Error(err)
				return
			}
			for _, err := range []error{c.Suspend(t.Context(), parse(t, id)), c.Rename(t.Context(), parse(t, id), "New", id, id+"-2"), c.Resume(t.Context(), parse(t, id))} {
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	stop := make(chan struct{})
	var resealing sync.WaitGroup
	resealing.Go(func() {
		room := 100
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := after.Reseal(t.Context()); err != nil {
				t.Error(err)
			}
			room++
			if err := before.ChangeServer(t.Context(), "b", catalog.ServerChange{Capacity: &room}); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	close(stop)
	resealing.Wait()
	if _, err := after.Reseal(t.Context()); err != nil { // what the old process has sealed since
		t.Fatal(err)
	}
	pool := admin(t, master)
	if n := one[int](t, pool, sealedWith, "2026"); n != 0 {
		t.Errorf("%d are sealed with the old key", n)
	}
	alone := bare(t, master, next)
	for tenant, err := range alone.List(t.Context(), catalog.Filter{}) {
		if err != nil || tenant.State != catalog.Active || tenant.Name != "New" || len(tenant.Hosts) != 2 {
			t.Errorf("got %+v, %v", tenant, err)
			continue
		}
		if err := placed(t, alone, tenant.ID.String()); err != nil {
			t.Error(err)
		}
	}
}

// TestAChangedServerKeepsItsSeal changes a server from a reading that is older
// than a Reseal.
func TestAChangedServerKeepsItsSeal(t *testing.T) {
	t.Parallel()
	old, next := testKey(t, "2026"), testKey(t, "2027")
	other := pgtest.Database(t)
	master := pgtest.Database(t)
	c, was := bare(t, master, next, old), bare(t, master, old)
	if err := was.AddServer(t.Context(), catalog.NewServer{Name: "b", ConnString: other}); err != nil {
		t.Fatal(err)
	}
	pool := admin(t, master)
	sealed := one[[]byte](t, pool, "select conn from tenantry.servers where name = 'b'")
	for range 30 {
		mustExec(t, pool, `update tenantry.servers set "full" = false, capacity = 0, conn = $1 where name = 'b'`, sealed)
		var wg sync.WaitGroup
		yes, ten := true, 10
		wg.Go(func() {
			if err := c.ChangeServer(t.Context(), "b", catalog.ServerChange{Full: &yes}); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if err := c.ChangeServer(t.Context(), "b", catalog.ServerChange{Capacity: &ten}); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if _, err := c.Reseal(t.Context()); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		if got := one[string](t, pool, `select "full" || ' ' || capacity from tenantry.servers where name = 'b'`); got != "true 10" {
			t.Fatalf("a change was lost: full, capacity: %s", got)
		}
		if n := one[int](t, pool, sealedWith, "2026"); n != 0 {
			t.Fatal("a Reseal was lost")
		}
	}
}
