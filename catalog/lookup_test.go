package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/httpmw"
	"github.com/tenantry/tenantry/internal/pgproxy"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
)

// counted is a catalog with 100 tenants that reaches its master through a proxy, and
// listens.
func counted(t *testing.T) (*catalog.Catalog, *pgproxy.Proxy) {
	t.Helper()
	dsn := pgtest.Database(t)
	enter(t, admin(t, tabled(t, dsn)), 100)
	proxy := pgproxy.Start(t, dsn)
	c, err := catalog.Open(t.Context(), proxy.DSN(dsn), catalog.WithKeys(catalog.FixedKeys{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	listening(t, c)
	return c, proxy
}

// tabled makes the master's tables in dsn.
func tabled(t *testing.T, dsn string) string {
	t.Helper()
	c, err := catalog.Open(t.Context(), dsn, catalog.WithKeys(catalog.FixedKeys{}))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return dsn
}

func listening(t testing.TB, c *catalog.Catalog) {
	t.Helper()
	eventually(t, "the catalog listens", func() bool { return c.Stats().Listening })
}

func TestLookupsAreAnsweredFromMemory(t *testing.T) {
	t.Parallel()
	c, proxy := counted(t)
	want := parse(t, "bulk00000")
	refs := []httpmw.Ref{idRef("bulk00000"), subdomain("bulk00000"), domain("bulk00000.example")}
	ask := func() {
		t.Helper()
		for _, ref := range refs {
			if got, err := c.Lookup(t.Context(), ref); err != nil || got != want {
				t.Errorf("%s: got %v, %v", ref, got, err)
			}
		}
		_, err := c.Lookup(t.Context(), subdomain("nobody"))
		mustBe(t, err, catalog.ErrUnknown)
	}
	ask() // one query finds the tenant under all its names
	before, trips := c.Stats(), proxy.RoundTrips()
	if before.Misses != 2 || before.Hits != 2 || before.Unknown != 0 || before.Known != 3 {
		t.Errorf("got %+v", before)
	}
	for range 1000 {
		ask()
	}
	after := c.Stats()
	if proxy.RoundTrips() != trips || after.Misses != 2 || after.Hits != 3002 || after.Unknown != 1000 {
		t.Errorf("%d round trips, %+v", proxy.RoundTrips()-trips, after)
	}
}

func TestANameOfAnotherKindIsUnknown(t *testing.T) {
	t.Parallel()
	c, _ := counted(t)
	for _, ref := range []httpmw.Ref{
		domain("bulk00000"), subdomain("bulk00000.example"), idRef("bulk00000.example"), {}, {Kind: 99, Value: "bulk00000"}, subdomain(""), subdomain("BULK00000"),
		subdomain("\x00"), subdomain("a\xffb"),
	} {
		for range 2 { // from the database, and from memory
			_, err := c.Lookup(t.Context(), ref)
			if !errors.Is(err, catalog.ErrUnknown) {
				t.Errorf("%q: %v", ref, err)
			}
		}
	}
}

// TestOneTenantsRowDoesNotHurtOthers looks all tenants up at once.
func TestOneTenantsRowDoesNotHurtOthers(t *testing.T) {
	t.Parallel()
	dsn := tabled(t, pgtest.Database(t))
	pool := admin(t, dsn)
	enter(t, pool, 10)
	mustExec(t, pool, `update tenantry.tenants set created_at = 'infinity' where id = 'bulk00005'`)
	mustExec(t, pool, `update tenantry.tenants set schema = 'a,b' where id = 'bulk00000'`)
	mustExec(t, pool, `update tenantry.hosts set name = '!?' where name = 'bulk00000.example'`)
	c := bare(t, dsn)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			_, err := c.Lookup(t.Context(), subdomain(fmt.Sprintf("bulk%05d", i%10)))
			if i%5 == 0 && err != nil { // the others aren't active
				t.Error(err)
			}
		})
		wg.Go(func() {
			_, err := c.Lookup(t.Context(), subdomain("\x00"))
			mustBe(t, err, catalog.ErrUnknown)
		})
	}
	wg.Wait()
}

// TestManyLookupsOfOneColdNameAskOnce allows for a second query: who asks while a query is
// under way may know of a change that the query doesn't see.
func TestManyLookupsOfOneColdNameAskOnce(t *testing.T) {
	t.Parallel()
	c, proxy := counted(t)
	cost := func(f func()) int64 {
		before := proxy.RoundTrips()
		f()
		return proxy.RoundTrips() - before
	}
	lookup := func(name string) {
		if _, err := c.Lookup(t.Context(), subdomain(name)); err != nil {
			t.Error(err)
		}
	}
	single := cost(func() { lookup("bulk00000") })
	if single == 0 {
		t.Fatal("a cold lookup costs nothing: this test proves nothing")
	}
	many := cost(func() {
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() { lookup("bulk00005") })
		}
		wg.Wait()
	})
	t.Logf("round trips: %d for one, %d for 200", single, many)
	if many > 2*single {
		t.Errorf("200 lookups cost %d round trips, one costs %d", many, single)
	}
}

func TestAScanCostsLittle(t *testing.T) {
	t.Parallel()
	c, proxy := counted(t)
	before, trips := heap(), proxy.RoundTrips()
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			for j := range 100 {
				_, err := c.Lookup(t.Context(), subdomain(fmt.Sprintf("scan-%d-%d", i, j)))
				if !errors.Is(err, catalog.ErrUnknown) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d round trips, heap %d kB before, %d kB after", proxy.RoundTrips()-trips, before>>10, heap()>>10)
	if n := proxy.RoundTrips() - trips; n > 2000 {
		t.Errorf("20000 lookups cost %d round trips", n)
	}
	s := c.Stats()
	if s.Known != 0 || s.Misses != 20000 {
		t.Errorf("got %+v", s)
	}
	remembered := 0
	for i := range 200 {
		for j := range 100 {
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // memory answers all the same, the database doesn't
			_, err := c.Lookup(ctx, subdomain(fmt.Sprintf("scan-%d-%d", i, j)))
			if errors.Is(err, catalog.ErrUnknown) {
				remembered++
			}
		}
	}
	if remembered > 4096 {
		t.Errorf("%d unknown names are remembered", remembered)
	}
}

// heap returns how many bytes are in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestALookupEndsWithItsContext(t *testing.T) {
	t.Parallel()
	c, _ := counted(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("the client has gone")
	cancel(gone)
	_, err := c.Lookup(ctx, subdomain("bulk00000"))
	mustBe(t, err, gone)
	if errors.Is(err, catalog.ErrUnknown) {
		t.Error(err)
	}
	if _, err := c.Lookup(t.Context(), subdomain("bulk00000")); err != nil { // nobody else suffers
		t.Error(err)
	}
	if _, err := c.Lookup(ctx, subdomain("bulk00000")); err != nil { // memory answers all the same
		t.Error(err)
	}
}

func TestWhatIsNotHeardOfIsSeenAfterTheTTL(t *testing.T) {
	t.Parallel()
	dsn := tabled(t, pgtest.Database(t))
	pool := admin(t, dsn)
	enter(t, pool, 1)
	for _, table := range []string{"tenants", "hosts"} {
		mustExec(t, pool, "alter table tenantry."+table+" disable trigger user")
	}
	c, err := catalog.Open(t.Context(), dsn, catalog.WithKeys(catalog.FixedKeys{}), catalog.WithTTL(300*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	listening(t, c)
	if _, err := c.Lookup(t.Context(), subdomain("bulk00000")); err != nil {
		t.Fatal(err)
	}
	mustExec(t, pool, "update tenantry.tenants set state = 'suspended'")
	eventually(t, "the change is seen", func() bool {
		_, err := c.Lookup(t.Context(), subdomain("bulk00000"))
		return errors.Is(err, catalog.ErrSuspended)
	})
}

// TestALookupAfterAChangeSeesIt suspends and resumes a tenant while many look it
// up, by queries that began before the change, too.
func TestALookupAfterAChangeSeesIt(t *testing.T) {
	t.Parallel()
	c, _, _ := service(t)
	tenant := create(t, c, catalog.New{ID: "acme", Hosts: []string{"acme", "portal.acme.example"}})
	refs := []httpmw.Ref{idRef("acme"), subdomain("acme"), domain("portal.acme.example")}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var asked atomic.Int64
	for i := range 8 {
		wg.Go(func() {
			for j := 0; ctx.Err() == nil; j++ {
				_, _ = c.Lookup(t.Context(), refs[(i+j)%3])
				_, _ = c.Lookup(t.Context(), subdomain(fmt.Sprintf("scan-%d-%d", i, j))) // keeps queries under way
				asked.Add(2)
			}
		})
	}
	for i := range 150 {
		if err := c.Suspend(t.Context(), tenant.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Lookup(t.Context(), refs[i%3]); !errors.Is(err, catalog.ErrSuspended) {
			t.Errorf("suspended: %v", err)
		}
		if err := c.Resume(t.Context(), tenant.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Lookup(t.Context(), refs[i%3]); err != nil {
			t.Errorf("resumed: %v", err)
		}
		host := fmt.Sprintf("host-%d", i)
		if _, err := c.Lookup(t.Context(), subdomain(host)); !errors.Is(err, catalog.ErrUnknown) {
			t.Errorf("not yet: %v", err)
		}
		if err := c.Rename(t.Context(), tenant.ID, "", "acme", "portal.acme.example", host); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Lookup(t.Context(), subdomain(host)); err != nil {
			t.Errorf("renamed: %v", err)
		}
		if i == 0 {
			continue
		}
		if _, err := c.Lookup(t.Context(), subdomain(fmt.Sprintf("host-%d", i-1))); !errors.Is(err, catalog.ErrUnknown) {
			t.Errorf("not any more: %v", err)
		}
	}
	cancel()
	wg.Wait()
	t.Logf("%d lookups meanwhile, %+v", asked.Load(), c.Stats())
}

// TestAnOldReadingIsNotKept holds a lookup's query up between its readings of the
// tenant and of the server, and changes the tenant meanwhile.
func TestAnOldReadingIsNotKept(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	c := bare(t, tabled(t, dsn))
	listening(t, c)
	pool := admin(t, dsn)
	enter(t, pool, 1)
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.Background()) }() // a second time, in the usual case
	if _, err := tx.Exec(t.Context(), "lock table tenantry.servers in access exclusive mode"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, err := c.Lookup(t.Context(), subdomain("bulk00000"))
		done <- err
	}()
	eventually(t, "the lookup is held up", func() bool {
		return one[bool](t, pool, "select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')")
	})
	if err := c.Suspend(t.Context(), parse(t, "bulk00000")); err != nil {
		t.Fatal(err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatalf("the lookup did not read before the change, which proves nothing: %v", err)
	}
	_, err = c.Lookup(t.Context(), subdomain("bulk00000"))
	mustBe(t, err, catalog.ErrSuspended)
}

func TestATenantOfTheSameIDIsAnother(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, kind := range []catalog.Kind{catalog.OwnSchema, catalog.OwnDatabase, catalog.OwnSchema} {
		tenant := create(t, s.c, catalog.New{ID: "acme", Kind: kind})
		if got := s.titles(t, "acme"); len(got) != 0 {
			t.Errorf("it begins with %v", got)
		}
		if err := s.db.WithContext(as(t, "acme")).Create(&Invoice{Title: "old"}).Error; err != nil {
			t.Error(err)
		}
		if err := s.c.Drop(t.Context(), tenant.ID, "acme"); err != nil {
			t.Fatal(err)
		}
		_, err := s.c.Lookup(t.Context(), subdomain("acme"))
		mustBe(t, err, catalog.ErrUnknown)
	}
}

func TestKnownTenantsAreServedWithoutTheMaster(t *testing.T) {
	t.Parallel()
	server := pgtest.Server(t)
	other := pgtest.Database(t)
	var logged record
	c, err := catalog.Open(t.Context(), server.DSN(), catalog.WithKeys(catalog.FixedKeys{testKey(t, "k")}),
		catalog.WithTTL(time.Millisecond), catalog.WithLogger(logged.logger()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	mustAdd(t, c, catalog.NewServer{Name: "b", ConnString: other})
	create(t, c, catalog.New{ID: "acme", Server: "b"})
	create(t, c, catalog.New{ID: "asleep", Server: "b"})
	if err := c.Suspend(t.Context(), parse(t, "asleep")); err != nil {
		t.Fatal(err)
	}
	use := func() (errs [2]error) {
		p, err := c.Strategy().Place(t.Context(), nil, parse(t, "acme"))
		if err == nil {
			_, err = p.Pool.Exec(t.Context(), "select 1")
			p.Lease.Release()
		}
		_, err2 := c.Lookup(t.Context(), subdomain("acme"))
		_, asleep := c.Lookup(t.Context(), subdomain("asleep"))
		return [2]error{errors.Join(err, err2), asleep}
	}
	mustServe := func() {
		t.Helper()
		errs := use()
		if errs[0] != nil || !errors.Is(errs[1], catalog.ErrSuspended) {
			t.Errorf("got %v", errs)
		}
	}
	listening(t, c)
	mustServe()
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		mustServe()
	}
	_, err = c.Lookup(t.Context(), subdomain("unknown"))
	if err == nil || errors.Is(err, catalog.ErrUnknown) || errors.Is(err, catalog.ErrSuspended) {
		t.Errorf("an unknown name: %v", err)
	}
	eventually(t, "the listener notices", func() bool { return !c.Stats().Listening })
	mustServe()
	mustSay(t, errors.New(logged.String()), "level=WARN", "tenant=acme")
	if _, err := c.Create(t.Context(), catalog.New{ID: "globex"}); err == nil {
		t.Error("a tenant was made")
	}
	if err := c.Ping(t.Context()); err == nil {
		t.Error("the master answers")
	}
}
