package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"gorm.io/gorm"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/pgproxy"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
)

// site is a service as a test uses it.
type site struct {
	c   *catalog.Catalog
	db  *gorm.DB
	dsn string
}

func newSite(t testing.TB) site {
	t.Helper()
	c, db, dsn := service(t)
	return site{c, db, dsn}
}

// serversNamed returns the servers by name.
func serversNamed(t testing.TB, c *catalog.Catalog) map[string]catalog.Server {
	t.Helper()
	all, err := c.Servers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]catalog.Server{}
	for _, s := range all {
		named[s.Name] = s
	}
	return named
}

func mustChange(t testing.TB, c *catalog.Catalog, name string, change catalog.ServerChange) {
	t.Helper()
	if err := c.ChangeServer(t.Context(), name, change); err != nil {
		t.Fatal(err)
	}
}

func mustAdd(t testing.TB, c *catalog.Catalog, n catalog.NewServer) {
	t.Helper()
	if err := c.AddServer(t.Context(), n); err != nil {
		t.Fatal(err)
	}
}

// titles returns the titles of a tenant's invoices.
func (s site) titles(t testing.TB, id string) (titles []string) {
	t.Helper()
	if err := s.db.WithContext(as(t, id)).Model(&Invoice{}).Pluck("title", &titles).Error; err != nil {
		t.Errorf("%s: %v", id, err)
	}
	return titles
}

func TestTenantsLiveOnTwoServers(t *testing.T) {
	t.Parallel()
	other := pgtest.Server(t).DSN()
	s := newSite(t)
	mustAdd(t, s.c, catalog.NewServer{Name: "b", ConnString: other, Capacity: 5})
	for _, n := range []catalog.New{
		{ID: "a1", Server: catalog.Main}, {ID: "a2", Server: catalog.Main, Kind: catalog.OwnDatabase},
		{ID: "b1", Server: "b"}, {ID: "b2", Server: "b", Kind: catalog.OwnDatabase},
	} {
		tenant := create(t, s.c, n)
		if tenant.Server != n.Server {
			t.Errorf("%s lives on %s", n.ID, tenant.Server)
		}
		if err := s.db.WithContext(as(t, n.ID)).Create(&Invoice{Title: n.ID}).Error; err != nil {
			t.Error(err)
		}
		there := admin(t, map[string]string{catalog.Main: s.dsn, "b": other}[n.Server])
		where := "select exists (select from pg_namespace where nspname = $1)"
		if n.Kind == catalog.OwnDatabase {
			where = "select exists (select from pg_database where datname = $1)"
		}
		name := tenant.Schema
		if n.Kind == catalog.OwnDatabase {
			name = tenant.Database
		}
		if !one[bool](t, there, where, name) {
			t.Errorf("%s is not there", n.ID)
		}
	}
	for _, id := range []string{"a1", "a2", "b1", "b2"} {
		if got := s.titles(t, id); len(got) != 1 || got[0] != id {
			t.Errorf("%s: got %v", id, got)
		}
	}
	got := serversNamed(t, s.c)
	if b := got["b"]; b.Tenants != 2 || b.Capacity != 5 || b.Full || b.Database != "postgres" || b.CreatedAt.IsZero() {
		t.Errorf("got %+v", b)
	}
	if got["main"].Tenants != 2 || len(got) != 2 {
		t.Errorf("got %+v", got)
	}
}

func TestADatabaseIsUsedOnce(t *testing.T) {
	t.Parallel()
	other := pgtest.Database(t)
	s := newSite(t)
	own := create(t, s.c, catalog.New{ID: "acme", Kind: catalog.OwnDatabase})
	mustAdd(t, s.c, catalog.NewServer{Name: "b", ConnString: other})
	proxy := pgproxy.Start(t, other)
	local := strings.Replace(other, "127.0.0.1", "localhost", 1)
	for what, dsn := range map[string]string{
		"the same": other, "through a proxy": proxy.DSN(other), "as localhost": local,
		"the master": s.dsn, "the master through a proxy": proxy.DSN(s.dsn), "a tenant's": strings.Replace(other, nameIn(t, other), own.Database, 1),
	} {
		err := s.c.AddServer(t.Context(), catalog.NewServer{Name: "c", ConnString: dsn})
		if !errors.Is(err, catalog.ErrTaken) {
			t.Errorf("%s: got %v", what, err)
		}
		mustRefuse(t, err, "connection string", catalog.ErrTaken)
	}
	third := pgtest.Database(t)
	mustRefuse(t, s.c.AddServer(t.Context(), catalog.NewServer{Name: "b", ConnString: third}), "server", catalog.ErrTaken)
	mustAdd(t, s.c, catalog.NewServer{Name: "c", ConnString: third})
	mustRefuse(t, s.c.ChangeServer(t.Context(), "c", catalog.ServerChange{ConnString: &other}), "connection string", catalog.ErrTaken)
	if len(serversNamed(t, s.c)) != 3 {
		t.Error("there are others")
	}
}

func nameIn(t testing.TB, dsn string) string {
	t.Helper()
	return admin(t, dsn).Config().ConnConfig.Database
}

func TestAddServerRefusesWhatHasAnotherForm(t *testing.T) {
	t.Parallel()
	c, _, _ := service(t)
	for _, name := range []string{"", "main", "B", "b c", "3", strings.Repeat("b", 49)} {
		mustRefuse(t, c.AddServer(t.Context(), catalog.NewServer{Name: name, ConnString: pgtest.DSN(t)}), "server", catalog.ErrInvalid)
	}
	mustRefuse(t, c.AddServer(t.Context(), catalog.NewServer{Name: "b", ConnString: pgtest.DSN(t), Capacity: -1}), "capacity", catalog.ErrInvalid)
	for _, dsn := range []string{"", "nonsense", "host=127.0.0.1 port=1 user=a password=b"} {
		if err := c.AddServer(t.Context(), catalog.NewServer{Name: "b", ConnString: dsn}); err == nil {
			t.Errorf("%q is taken", dsn)
		}
	}
	minus, dsn := -1, pgtest.DSN(t)
	mustRefuse(t, c.ChangeServer(t.Context(), catalog.Main, catalog.ServerChange{Capacity: &minus}), "capacity", catalog.ErrInvalid)
	mustRefuse(t, c.ChangeServer(t.Context(), catalog.Main, catalog.ServerChange{ConnString: &dsn}), "connection string", catalog.ErrInvalid)
	mustBe(t, c.ChangeServer(t.Context(), "nowhere", catalog.ServerChange{}), catalog.ErrUnknown)
	mustBe(t, c.RemoveServer(t.Context(), "nowhere"), catalog.ErrUnknown)
	mustRefuse(t, c.RemoveServer(t.Context(), catalog.Main), "server", catalog.ErrInvalid)
	if len(serversNamed(t, c)) != 1 {
		t.Error("there are others")
	}
}

func TestCapacityAndFullBoundAServer(t *testing.T) {
	t.Parallel()
	c, _, _ := service(t, catalog.WithMigrations(noTables()))
	two, three, zero, yes, no := 2, 3, 0, true, false
	mustChange(t, c, catalog.Main, catalog.ServerChange{Capacity: &two})
	create(t, c, catalog.New{ID: "t1"})
	create(t, c, catalog.New{ID: "t2", Server: catalog.Main})
	refused := func(n catalog.New) {
		t.Helper()
		_, err := c.Create(t.Context(), n)
		mustBe(t, err, catalog.ErrNoRoom)
		_, err = c.Get(t.Context(), parse(t, n.ID))
		mustBe(t, err, catalog.ErrUnknown)
	}
	refused(catalog.New{ID: "t3"})
	refused(catalog.New{ID: "t3", Server: catalog.Main})
	mustChange(t, c, catalog.Main, catalog.ServerChange{Capacity: &three})
	create(t, c, catalog.New{ID: "t3"})
	refused(catalog.New{ID: "t4"})
	mustChange(t, c, catalog.Main, catalog.ServerChange{Capacity: &zero})
	create(t, c, catalog.New{ID: "t4"})
	mustChange(t, c, catalog.Main, catalog.ServerChange{Full: &yes})
	refused(catalog.New{ID: "t5"})
	refused(catalog.New{ID: "t5", Server: catalog.Main})
	mustChange(t, c, catalog.Main, catalog.ServerChange{Full: &no, Capacity: &three})
	refused(catalog.New{ID: "t5"})
	for _, id := range []string{"t1", "t2"} {
		if err := c.Drop(t.Context(), parse(t, id), id); err != nil {
			t.Fatal(err)
		}
	}
	create(t, c, catalog.New{ID: "t5"})
}

func TestSignUpsAtOnceKeepTheCapacity(t *testing.T) {
	t.Parallel()
	other := pgtest.Database(t)
	c, _, _ := service(t, catalog.WithMigrations(noTables()))
	three := 3
	mustAdd(t, c, catalog.NewServer{Name: "b", ConnString: other, Capacity: 3})
	mustChange(t, c, catalog.Main, catalog.ServerChange{Capacity: &three})
	var wg sync.WaitGroup
	var mu sync.Mutex // guards made
	made := 0
	for i := range 12 {
		wg.Go(func() {
			_, err := c.Create(t.Context(), catalog.New{ID: fmt.Sprintf("t%d", i)})
			if err != nil {
				if !errors.Is(err, catalog.ErrNoRoom) {
					t.Error(err)
				}
				return
			}
			mu.Lock()
			defer mu.Unlock()
			made++
		})
	}
	wg.Wait()
	got := serversNamed(t, c)
	if made != 6 || got["main"].Tenants != 3 || got["b"].Tenants != 3 {
		t.Errorf("%d made: %+v", made, got)
	}
}

func TestTheServerWithTheFewestTenantsIsChosen(t *testing.T) {
	t.Parallel()
	b, d := pgtest.Database(t), pgtest.Database(t)
	c, _, _ := service(t, catalog.WithMigrations(noTables()))
	mustAdd(t, c, catalog.NewServer{Name: "b", ConnString: b})
	mustAdd(t, c, catalog.NewServer{Name: "d", ConnString: d, Capacity: 1})
	create(t, c, catalog.New{ID: "t0", Server: catalog.Main})
	for i, want := range []string{"b", "d", "b", "main", "b", "main"} { // of equals the first by name
		if got := create(t, c, catalog.New{ID: fmt.Sprintf("t%d", i+1)}); got.Server != want {
			t.Errorf("tenant %d lives on %s, want %s", i+1, got.Server, want)
		}
	}
}

func TestTheServerIsChosenByAFunction(t *testing.T) {
	t.Parallel()
	b, d := pgtest.Database(t), pgtest.Database(t)
	refusal := errors.New("not today")
	choose := func(_ context.Context, n catalog.New, servers []catalog.Server) (string, error) {
		var names []string
		for _, s := range servers {
			names = append(names, s.Name)
		}
		if got := strings.Join(names, " "); got != "b main" {
			return "", fmt.Errorf("the choice is %s", got)
		}
		if n.ID == "nobody" {
			return "", refusal
		}
		return n.Labels["region"], nil
	}
	c, _, _ := service(t, catalog.WithMigrations(noTables()), catalog.WithServerChoice(choose))
	mustAdd(t, c, catalog.NewServer{Name: "b", ConnString: b})
	mustAdd(t, c, catalog.NewServer{Name: "d", ConnString: d})
	yes := true
	mustChange(t, c, "d", catalog.ServerChange{Full: &yes})
	for _, region := range []string{"b", "main"} {
		if got := create(t, c, catalog.New{ID: "in-" + region, Labels: map[string]string{"region": region}}); got.Server != region {
			t.Errorf("%s lives on %s", region, got.Server)
		}
	}
	_, err := c.Create(t.Context(), catalog.New{ID: "nobody"})
	mustBe(t, err, refusal)
	for _, wrong := range []string{"", "nowhere", "d"} { // d is full
		_, err := c.Create(t.Context(), catalog.New{ID: "lost", Labels: map[string]string{"region": wrong}})
		if err == nil {
			t.Errorf("the choice of %q was taken", wrong)
			continue
		}
		mustSay(t, err, fmt.Sprintf("%q", wrong))
	}
	if got := list(t, c, catalog.Filter{}); len(got) != 2 {
		t.Errorf("got %v", got)
	}
}

func TestAServerWithTenantsIsNotRemoved(t *testing.T) {
	t.Parallel()
	other := pgtest.Database(t)
	c, _, dsn := service(t)
	for range 2 { // what was removed can come back
		mustAdd(t, c, catalog.NewServer{Name: "b", ConnString: other})
		tenant := create(t, c, catalog.New{ID: "acme", Server: "b"})
		mustRefuse(t, c.RemoveServer(t.Context(), "b"), "server", catalog.ErrInvalid)
		if err := c.Drop(t.Context(), tenant.ID, "acme"); err != nil {
			t.Fatal(err)
		}
		if err := c.RemoveServer(t.Context(), "b"); err != nil {
			t.Fatal(err)
		}
	}
	if n := one[int](t, admin(t, dsn), "select count(*) from tenantry.databases"); n != 1 {
		t.Errorf("%d databases are left", n)
	}
}

func TestAServerChangesItsAddressUnderItsTenants(t *testing.T) {
	t.Parallel()
	server := pgtest.Server(t).DSN()
	first, second := pgproxy.Start(t, server), pgproxy.Start(t, server)
	s := newSite(t)
	mustAdd(t, s.c, catalog.NewServer{Name: "b", ConnString: first.DSN(server)})
	for _, n := range []catalog.New{{ID: "acme", Server: "b"}, {ID: "globex", Server: "b", Kind: catalog.OwnDatabase}} {
		create(t, s.c, n)
		if err := s.db.WithContext(as(t, n.ID)).Create(&Invoice{Title: n.ID}).Error; err != nil {
			t.Fatal(err)
		}
	}
	if second.Connections() != 0 {
		t.Error("somebody knew")
	}
	address := second.DSN(server)
	mustChange(t, s.c, "b", catalog.ServerChange{ConnString: &address})
	before, trips := first.RoundTrips(), second.RoundTrips()
	for _, id := range []string{"acme", "globex"} {
		if got := s.titles(t, id); len(got) != 1 || got[0] != id {
			t.Errorf("%s: got %v", id, got)
		}
	}
	if first.RoundTrips() != before {
		t.Error("the old address was asked")
	}
	if second.RoundTrips() == trips {
		t.Error("the new address was not asked")
	}
}
