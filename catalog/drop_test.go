package catalog_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/scope"
)

func TestDropNeedsTheIDOnceMore(t *testing.T) {
	t.Parallel()
	c, db, dsn := service(t)
	id := unique("sure")
	tenant := create(t, c, catalog.New{ID: id})
	for _, confirm := range []string{"", "yes", id + " ", "acme"} {
		mustBe(t, c.Drop(t.Context(), tenant.ID, confirm), catalog.ErrNotConfirmed)
	}
	mustBe(t, c.Drop(t.Context(), scope.Tenant{}, ""), catalog.ErrNotConfirmed)
	works(t, db, id)
	if err := c.Drop(t.Context(), tenant.ID, id); err != nil {
		t.Fatal(err)
	}
	mustBe(t, c.Drop(t.Context(), tenant.ID, id), catalog.ErrUnknown)
	_, err := c.Lookup(t.Context(), subdomain(id))
	mustBe(t, err, catalog.ErrUnknown)
	mustBe(t, db.WithContext(as(t, id)).Create(&Invoice{}).Error, catalog.ErrUnknown)
	mustMatch(t, c, admin(t, dsn), id)
}

func TestDropRefusesWhatIsNotMarkedAsTheTenants(t *testing.T) {
	t.Parallel()
	c, db, dsn := service(t, catalog.WithRoles())
	pool := admin(t, dsn)
	for _, kind := range []catalog.Kind{catalog.OwnSchema, catalog.OwnDatabase} {
		tenant := create(t, c, catalog.New{ID: unique("mine"), Kind: kind})
		id := tenant.ID.String()
		mark := "tenantry " + identity(t, pool) + " tenant " + id
		place := "schema " + tenant.Schema
		if kind == catalog.OwnDatabase {
			place = "database " + tenant.Database
		}
		before := objects(t, pool, identity(t, pool), id)
		for _, object := range []string{place, "role " + tenant.Role} {
			for what, text := range map[string]string{"no mark": "", "another tenant's": mark + "2", "another master's": "tenantry 00000000 tenant " + id} {
				execute(t, pool, fmt.Sprintf("comment on %s is '%s'", object, text))
				err := c.Drop(t.Context(), tenant.ID, id)
				mustBe(t, err, catalog.ErrForeign)
				mustSay(t, err, id, tenant.Role)
				if got, err := c.Get(t.Context(), tenant.ID); err != nil || got.State != catalog.Active {
					t.Errorf("%s with %s: the tenant is %s, %v", object, what, got.State, err)
				}
				works(t, db, id)
				if got := objects(t, pool, identity(t, pool), id); fmt.Sprint(got) != fmt.Sprint(before) {
					t.Errorf("%s with %s: there are %q, were %q", object, what, got, before)
				}
			}
			execute(t, pool, fmt.Sprintf("comment on %s is '%s'", object, mark))
		}
		if err := c.Drop(t.Context(), tenant.ID, id); err != nil {
			t.Error(err)
		}
		mustMatch(t, c, pool, id)
	}
}

// TestTheMasterRefusesPlacesOfOthers changes rows by hand.
func TestTheMasterRefusesPlacesOfOthers(t *testing.T) {
	t.Parallel()
	second := pgtest.Database(t)
	c, db, dsn := service(t, catalog.WithRoles())
	pool, prefix := admin(t, dsn), unique("row")
	if err := c.AddServer(t.Context(), catalog.NewServer{Name: "second", ConnString: second}); err != nil {
		t.Fatal(err)
	}
	for _, n := range []catalog.New{
		{ID: prefix + "-s1", Server: catalog.Main}, {ID: prefix + "-s2", Server: catalog.Main},
		{ID: prefix + "-d1", Kind: catalog.OwnDatabase}, {ID: prefix + "-d2", Kind: catalog.OwnDatabase},
	} {
		create(t, c, n)
	}
	for what, change := range map[string]struct{ id, set, from, code string }{
		"another's schema":                 {"-s1", "schema = o.schema", "-s2", "23505"},
		"another's role":                   {"-s1", "role = o.role", "-s2", "23505"},
		"another's login":                  {"-d1", "role = o.role", "-d2", "23505"},
		"another's database":               {"-d1", "database = o.database", "-d2", "23505"},
		"a schema in another's database":   {"-s1", "database = o.database", "-d1", "23503"},
		"the schema public":                {"-s1", "schema = 'public'", "-s2", "23514"},
		"the catalog's schema":             {"-s1", "schema = 'tenantry'", "-s2", "23514"},
		"a schema of PostgreSQL's":         {"-s1", "schema = 'pg_catalog'", "-s2", "23514"},
		"a schema in upper case":           {"-s1", "schema = upper(o.schema)", "-s1", "23514"},
		"the master's database as its own": {"-d1", "database = o.database", "-s1", "23503"},
		"a shared database as its own":     {"-d1", "database = (select database from tenantry.servers where name = 'second')", "-s1", "23503"},
		"the master's as a database":       {"-s1", "kind = 'database', schema = 'public', password = ''", "-s1", "23503"},
		"a database nobody knows":          {"-d1", "database = 'postgres'", "-d2", "23503"},
		"no login":                         {"-d1", "role = null", "-d2", "23514"},
	} {
		_, err := pool.Exec(t.Context(), "update tenantry.tenants t set "+change.set+" from tenantry.tenants o where t.id = $1 and o.id = $2", prefix+change.id, prefix+change.from)
		if sqlState(err) != change.code {
			t.Errorf("%s: got error %v, want %s", what, err, change.code)
		}
	}
	// What constraints can't see, the mark does.
	execute(t, pool, "create schema audit")
	execute(t, pool, "create table audit.precious (id int)")
	execute(t, pool, "update tenantry.tenants set schema = 'audit', role = null where id = $1", prefix+"-s1")
	mustBe(t, c.Drop(t.Context(), parse(t, prefix+"-s1"), prefix+"-s1"), catalog.ErrForeign)
	one[int](t, pool, "select count(*)::int from audit.precious")
	for _, id := range []string{"-s2", "-d1", "-d2"} {
		works(t, db, prefix+id)
	}
	// leaves the rest to the clean-up of the test
	execute(t, pool, "update tenantry.tenants set schema = (select nspname from pg_namespace where starts_with(nspname, $2)), role = (select rolname from pg_roles where starts_with(rolname, $2)) where id = $1",
		prefix+"-s1", prefix+"_s1_")
}

func TestDropEndsWhatRunsInTheTenantsDatabaseAlone(t *testing.T) {
	t.Parallel()
	c, db, dsn := service(t)
	prefix := unique("busy")
	create(t, c, ownDatabase(prefix+"-a"))
	create(t, c, ownDatabase(prefix+"-b"))
	create(t, c, catalog.New{ID: prefix + "-c"})
	tx := db.WithContext(as(t, prefix+"-a")).Begin()
	if err := tx.Create(&Invoice{Title: "open"}).Error; err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	done := make(chan struct{})
	for _, id := range []string{prefix + "-b", prefix + "-c"} {
		started := make(chan struct{})
		wg.Go(func() {
			for n := 0; ; n++ {
				if err := db.WithContext(as(t, id)).Create(&Invoice{Title: id}).Error; err != nil {
					t.Errorf("%s: %v", id, err)
				}
				if n == 0 {
					close(started)
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
		<-started
	}
	slow := make(chan error)
	go func() { slow <- db.WithContext(as(t, prefix+"-a")).Exec("select pg_sleep(600)").Error }()
	pool := admin(t, dsn)
	eventually(t, "the statement runs", func() bool {
		return one[int](t, pool, "select count(*)::int from pg_stat_activity where starts_with(datname, $1) and wait_event = 'PgSleep'", prefix+"_a_") == 1
	})
	if err := c.Drop(t.Context(), parse(t, prefix+"-a"), prefix+"-a"); err != nil {
		t.Error(err)
	}
	if err := <-slow; err == nil {
		t.Error("a statement outlived its database")
	}
	if err := tx.Commit().Error; err == nil {
		t.Error("a transaction outlived its database")
	}
	close(done)
	wg.Wait()
	mustMatch(t, c, pool, prefix)
}

func TestAnIDThatComesAgainGetsAnotherPlace(t *testing.T) {
	t.Parallel()
	c, db, dsn := service(t, catalog.WithRoles())
	other := use(t, dsn, c, &gorm.Config{PrepareStmt: true})
	for _, kind := range []catalog.Kind{catalog.OwnSchema, catalog.OwnDatabase} {
		id := unique("again")
		seen := map[string]bool{}
		for range 3 {
			tenant := create(t, c, catalog.New{ID: id, Kind: kind})
			if seen[tenant.Role] {
				t.Errorf("the role %s came again", tenant.Role)
			}
			seen[tenant.Role] = true
			for _, db := range []*gorm.DB{db, other} {
				var n int64
				if err := db.WithContext(as(t, id)).Model(&Invoice{}).Where("title = ?", "left behind").Count(&n).Error; err != nil || n != 0 {
					t.Errorf("a new tenant has %d invoices, %v", n, err)
				}
			}
			for _, db := range []*gorm.DB{db, other} {
				if err := db.WithContext(as(t, id)).Create(&Invoice{Title: "left behind"}).Error; err != nil {
					t.Error(err)
				}
			}
			if err := c.Drop(t.Context(), tenant.ID, id); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestAStateThatChangesMeanwhileStopsDrop: what is not marked as deleting may be
// served.
func TestAStateThatChangesMeanwhileStopsDrop(t *testing.T) {
	t.Parallel()
	c, db, dsn := service(t)
	pool, id := admin(t, dsn), unique("meanwhile")
	tenant := create(t, c, catalog.New{ID: id})
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "update tenantry.tenants set state = 'suspended' where id = $1", id); err != nil {
		t.Fatal(err)
	}
	dropped := make(chan error)
	go func() { dropped <- c.Drop(t.Context(), tenant.ID, id) }()
	eventually(t, "Drop waits for the row", func() bool { return waiting(t, pool) == 1 })
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustBe(t, <-dropped, catalog.ErrBusy)
	if err := c.Resume(t.Context(), tenant.ID); err != nil {
		t.Fatal(err)
	}
	works(t, db, id)
}

// waiting is how many statements wait for a lock in the database of pool.
func waiting(t *testing.T, pool *pgxpool.Pool) int {
	t.Helper()
	return one[int](t, pool, "select count(*)::int from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'")
}
