package catalog_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"testing"

	"gorm.io/gorm"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/httpmw"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/scope"
)

// statuses asks a service for a tenant's page by host.
func statuses(t testing.TB, c *catalog.Catalog, db *gorm.DB) func(host string) int {
	t.Helper()
	tenant, err := httpmw.New(c, httpmw.First(httpmw.Subdomain("service.test"), httpmw.Host()))
	if err != nil {
		t.Fatal(err)
	}
	handler := tenant(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var n int64
		if err := db.WithContext(r.Context()).Model(&Invoice{}).Count(&n).Error; err != nil {
			t.Errorf("%s: %v", r.Host, err)
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	return func(host string) int {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
		r.Host = host
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w.Code
	}
}

func TestASuspendedTenantIsNotServed(t *testing.T) {
	t.Parallel()
	c, db, _ := service(t)
	status := statuses(t, c, db)
	for _, n := range []catalog.New{
		{ID: "acme", Hosts: []string{"acme", "portal.acme.example"}},
		{ID: "globex", Hosts: []string{"globex", "portal.globex.example"}, Kind: catalog.OwnDatabase},
	} {
		tenant := create(t, c, n)
		count := func() error {
			var n int64
			return db.WithContext(as(t, tenant.ID.String())).Model(&Invoice{}).Count(&n).Error
		}
		all := []string{n.ID + ".service.test", "portal." + n.ID + ".example"}
		for range 2 {
			for range 2 { // a second call changes nothing
				if err := c.Suspend(t.Context(), tenant.ID); err != nil {
					t.Fatal(err)
				}
			}
			for _, host := range all {
				if got := status(host); got != http.StatusForbidden {
					t.Errorf("%s, suspended: %d", host, got)
				}
			}
			mustBe(t, count(), catalog.ErrSuspended)
			mustBe(t, count(), httpmw.ErrSuspended)
			mustHaveState(t, c, tenant.ID, catalog.Suspended)
			for range 2 {
				if err := c.Resume(t.Context(), tenant.ID); err != nil {
					t.Fatal(err)
				}
			}
			for _, host := range all {
				if got := status(host); got != http.StatusOK {
					t.Errorf("%s, resumed: %d", host, got)
				}
			}
			if err := count(); err != nil {
				t.Error(err)
			}
			mustHaveState(t, c, tenant.ID, catalog.Active)
		}
	}
	if got := status("nobody.service.test"); got != http.StatusNotFound {
		t.Errorf("nobody: %d", got)
	}
}

func mustHaveState(t testing.TB, c *catalog.Catalog, id scope.Tenant, want catalog.State) {
	t.Helper()
	tenant, err := c.Get(t.Context(), id)
	if err != nil || tenant.State != want {
		t.Errorf("got %s, %v, want %s", tenant.State, err, want)
	}
}

func TestATransactionUnderWaySurvivesItsSuspension(t *testing.T) {
	t.Parallel()
	c, db, _ := service(t)
	tenant := create(t, c, catalog.New{ID: "acme"})
	err := db.WithContext(as(t, "acme")).Transaction(func(tx *gorm.DB) error {
		if err := tx.Create(&Invoice{Title: "before"}).Error; err != nil {
			return err
		}
		if err := c.Suspend(t.Context(), tenant.ID); err != nil {
			return err
		}
		return tx.Create(&Invoice{Title: "after"}).Error
	})
	if err != nil {
		t.Error(err)
	}
}

func TestSuspendAndResumeRefuseOtherStates(t *testing.T) {
	t.Parallel()
	c, db, dsn := service(t)
	tenant := create(t, c, catalog.New{ID: "acme"})
	pool := admin(t, dsn)
	for _, state := range []catalog.State{catalog.Provisioning, catalog.Failed, catalog.Deleting} {
		if _, err := pool.Exec(t.Context(), "update tenantry.tenants set state = $1", state); err != nil {
			t.Fatal(err)
		}
		for op, call := range map[string]func(context.Context, scope.Tenant) error{"suspend": c.Suspend, "resume": c.Resume} {
			err := call(t.Context(), tenant.ID)
			var wrong *catalog.StateError
			if !errors.As(err, &wrong) || *wrong != (catalog.StateError{Tenant: tenant.ID, State: state, Op: op}) {
				t.Errorf("%s when %s: got %v", op, state, err)
			}
			mustSay(t, err, op, "acme", string(state))
			mustHaveState(t, c, tenant.ID, state)
		}
		eventually(t, "it is not served when "+string(state), func() bool {
			_, err := c.Lookup(t.Context(), subdomain("acme"))
			return errors.Is(err, catalog.ErrUnknown) && !errors.Is(err, catalog.ErrSuspended)
		})
		var n int64
		mustBe(t, db.WithContext(as(t, "acme")).Model(&Invoice{}).Count(&n).Error, catalog.ErrUnknown)
	}
}

func TestUnknownTenants(t *testing.T) {
	t.Parallel()
	c, db, _ := service(t)
	nobody := parse(t, "nobody")
	_, err := c.Get(t.Context(), nobody)
	var n int64
	for what, err := range map[string]error{
		"get": err, "suspend": c.Suspend(t.Context(), nobody), "resume": c.Resume(t.Context(), nobody),
		"rename": c.Rename(t.Context(), nobody, "x", "x"), "drop": c.Drop(t.Context(), nobody, "nobody"), "repair": c.Repair(t.Context(), nobody),
		"zero": c.Suspend(t.Context(), scope.Tenant{}), "count": db.WithContext(as(t, "nobody")).Model(&Invoice{}).Count(&n).Error,
	} {
		if !errors.Is(err, catalog.ErrUnknown) || !errors.Is(err, httpmw.ErrUnknown) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestRenameMovesHosts(t *testing.T) {
	t.Parallel()
	c, db, _ := service(t)
	status := statuses(t, c, db)
	acme := create(t, c, catalog.New{ID: "acme", Hosts: []string{"acme", "portal.acme.example"}})
	if status("acme.service.test") != http.StatusOK || status("new.service.test") != http.StatusNotFound {
		t.Error("before")
	}
	if err := c.Rename(t.Context(), acme.ID, "Acme AG", "new", "Portal.ACME.example."); err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]int{
		"acme.service.test": http.StatusNotFound, "new.service.test": http.StatusOK, "portal.acme.example": http.StatusOK,
	} {
		if got := status(host); got != want {
			t.Errorf("%s: %d", host, got)
		}
	}
	got, err := c.Get(t.Context(), acme.ID)
	if err != nil || got.Name != "Acme AG" || got.Primary() != (catalog.Host{Name: "new"}) || len(got.Hosts) != 2 {
		t.Errorf("got %+v, %v", got, err)
	}
	if got.Schema != acme.Schema || got.Database != acme.Database || got.Server != acme.Server {
		t.Errorf("it has moved: %+v", got)
	}
	other := create(t, c, catalog.New{ID: "other", Hosts: []string{"acme"}}) // free again
	if got, err := c.Lookup(t.Context(), subdomain("acme")); err != nil || got != other.ID {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := c.Lookup(t.Context(), idRef("acme")); err != nil || got != acme.ID {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestRenameLeavesWhatIsNotGiven(t *testing.T) {
	t.Parallel()
	c, _, _ := service(t)
	tenant := create(t, c, catalog.New{ID: "acme", Name: "Acme", Hosts: []string{"b", "a"}})
	if err := c.Rename(t.Context(), tenant.ID, "Other"); err != nil {
		t.Fatal(err)
	}
	got, err := c.Get(t.Context(), tenant.ID)
	if err != nil || got.Name != "Other" || len(got.Hosts) != 2 || got.Primary().Name != "b" {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := c.Rename(t.Context(), tenant.ID, "", "a", "b"); err != nil {
		t.Fatal(err)
	}
	got, err = c.Get(t.Context(), tenant.ID)
	if err != nil || got.Name != "Other" || len(got.Hosts) != 2 || got.Primary().Name != "a" {
		t.Errorf("got %+v, %v", got, err)
	}
	mustRefuse(t, c.Rename(t.Context(), tenant.ID, "a\nb"), "name", catalog.ErrInvalid)
	mustRefuse(t, c.Rename(t.Context(), tenant.ID, "", "a", "a"), "host", catalog.ErrInvalid)
}

// TestOneOfManyGetsAHost has many tenants ask for one host, many times.
func TestOneOfManyGetsAHost(t *testing.T) {
	t.Parallel()
	c, _, dsn := service(t, catalog.WithMigrations(noTables()))
	var ids []scope.Tenant
	for _, id := range []string{"t1", "t2", "t3", "t4"} {
		ids = append(ids, create(t, c, catalog.New{ID: id}).ID)
	}
	pool := admin(t, dsn)
	for range 5 {
		var wg sync.WaitGroup
		errs := make([]error, len(ids))
		for i, id := range ids {
			wg.Go(func() { errs[i] = c.Rename(t.Context(), id, "", "own-"+id.String(), "wanted") })
		}
		wg.Wait()
		won := 0
		for i, err := range errs {
			if err == nil {
				won++
				if err := c.Rename(t.Context(), ids[i], "", "own-"+ids[i].String()); err != nil {
					t.Fatal(err)
				}
				continue
			}
			mustRefuse(t, err, "host", catalog.ErrTaken)
		}
		if won != 1 {
			t.Errorf("%d got it", won)
		}
	}
	if n := one[int](t, pool, "select count(*) from tenantry.hosts where name = 'wanted'"); n != 0 {
		t.Errorf("%d have it", n)
	}
}

// noTables is a list of one migration that makes nothing.
func noTables() migrator.Migrations {
	return migrator.Migrations{{ID: "0-nothing", Migrate: func(*gorm.DB) error { return nil }}}
}

func TestAClosedCatalogAnswersWithErrors(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	c, err := catalog.Open(t.Context(), dsn, catalog.WithKeys(catalog.FixedKeys{testKey(t, "k")}))
	if err != nil {
		t.Fatal(err)
	}
	db := use(t, dsn, c, nil)
	tenant := create(t, c, catalog.New{ID: "acme"})
	if err := c.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, lookup := c.Lookup(t.Context(), subdomain("cold"))
	_, made := c.Create(t.Context(), catalog.New{ID: "globex"})
	_, got := c.Get(t.Context(), tenant.ID)
	_, servers := c.Servers(t.Context())
	_, reseal := c.Reseal(t.Context())
	var listed error
	for _, listed = range c.List(t.Context(), catalog.Filter{}) {
	}
	var n int64
	for what, err := range map[string]error{
		"lookup": lookup, "create": made, "get": got, "servers": servers, "reseal": reseal, "list": listed,
		"drop": c.Drop(t.Context(), tenant.ID, "acme"), "repair": c.Repair(t.Context(), tenant.ID), "repair all": c.Repair(t.Context()),
		"suspend": c.Suspend(t.Context(), tenant.ID), "rename": c.Rename(t.Context(), tenant.ID, "x", "y"), "ping": c.Ping(t.Context()),
		"add":    c.AddServer(t.Context(), catalog.NewServer{Name: "b", ConnString: "host=127.0.0.1 port=1"}),
		"change": c.ChangeServer(t.Context(), catalog.Main, catalog.ServerChange{}), "remove": c.RemoveServer(t.Context(), "b"),
		"count": db.WithContext(as(t, "acme")).Model(&Invoice{}).Count(&n).Error,
	} {
		if err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	if s := c.Stats(); s.Listening {
		t.Error("it listens")
	}
}

// TestCloseLeavesNoGoroutine runs alone: it counts the process's goroutines.
func TestCloseLeavesNoGoroutine(t *testing.T) { //nolint:paralleltest // see above
	dsn := pgtest.Database(t)
	before := runtime.NumGoroutine()
	for range 5 {
		c, err := catalog.Open(t.Context(), dsn, catalog.WithKeys(catalog.FixedKeys{testKey(t, "k")}))
		if err != nil {
			t.Fatal(err)
		}
		tenant := create(t, c, catalog.New{ID: "acme", Kind: catalog.OwnDatabase})
		placed, err := c.Strategy().Place(t.Context(), nil, tenant.ID)
		if err != nil {
			t.Fatal(err)
		}
		placed.Lease.Release()
		if err := c.Drop(t.Context(), tenant.ID, "acme"); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all goroutines end", func() bool { return runtime.NumGoroutine() <= before })
}
