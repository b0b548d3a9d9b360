package migrator_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-gormigrate/gormigrate/v2"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// service is a master database with a catalog, which migrates new tenants.
func service(t *testing.T, migrations []*gormigrate.Migration, opts ...catalog.Option) (*catalog.Catalog, *gorm.DB, string) {
	t.Helper()
	dsn := pgtest.Database(t)
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	key, err := catalog.NewKey("k", secret)
	if err != nil {
		t.Fatal(err)
	}
	c, err := catalog.Open(t.Context(), dsn, append(opts, catalog.WithKeys(catalog.FixedKeys{key}), catalog.WithMigrations(migrator.Migrations(migrations)))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for tenant, err := range c.List(context.Background(), catalog.Filter{}) {
			if err == nil {
				err = c.Drop(context.Background(), tenant.ID, tenant.ID.String())
			}
			if err != nil {
				t.Error(err)
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c, onto(t, dsn, c), dsn
}

// onto opens dsn as an application of the catalog does.
func onto(t *testing.T, dsn string, c *catalog.Catalog) *gorm.DB {
	t.Helper()
	db, err := gorm.Open(postgres.Open(dsn), &gorm.Config{Logger: logger.Discard})
	if err != nil {
		t.Fatal(err)
	}
	p := plugin.New(c.Strategy(), plugin.WithMaxConns(6))
	if err := db.Use(p); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// fresh returns an id that no other test has: databases and roles are the whole
// server's.
func fresh(base string) string {
	random := make([]byte, 4)
	_, _ = rand.Read(random)
	return base + hex.EncodeToString(random)
}

func makeTenant(t *testing.T, c *catalog.Catalog, n catalog.New) catalog.Tenant {
	t.Helper()
	tenant, err := c.Create(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	return tenant
}

// TestCatalogTenantsGetIndexes: new ones in the transaction that makes them, those
// that exist outside of one, suspended ones and those with a database or a role of
// their own too. What is made belongs to the administrator, and the tenant may use it.
func TestCatalogTenantsGetIndexes(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]catalog.Option{"without roles": nil, "with roles": {catalog.WithRoles()}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, db, dsn := service(t, withIndex()[:3], opts...)
			var fleet []catalog.Tenant
			for _, kind := range []catalog.Kind{catalog.OwnSchema, catalog.OwnDatabase} {
				for _, suspended := range []bool{false, true} {
					tenant := makeTenant(t, c, catalog.New{ID: fresh("fleet"), Kind: kind, Server: catalog.Main})
					if suspended {
						if err := c.Suspend(t.Context(), tenant.ID); err != nil {
							t.Fatal(err)
						}
					}
					fleet = append(fleet, tenant)
				}
			}
			migrations := append(withIndex(), text("0005", "create table notes (id bigserial primary key, text text)"),
				index("0006", "create index concurrently notes_text on notes (text)"),
				migrator.NoTransaction(text("0007", "create table outside (id bigserial primary key)")))
			report, err := migrator.New(db, c, migrations).Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range report.Results {
				if !slices.Equal(r.Applied, []string{"0004", "0005", "0006", "0007"}) {
					t.Errorf("got %+v", r)
				}
			}
			for _, tenant := range fleet {
				pool := admin(t, strings.Replace(dsn, databaseOf(t, dsn), tenant.Database, 1))
				if got := ask[string](t, pool, indexesOf, tenant.Schema); got != "invoices_title notes_text" {
					t.Errorf("%s has the indexes %q", tenant.ID, got)
				}
				if got := ask[int](t, pool, "select count(distinct relowner)::int from pg_class c join pg_namespace n on n.oid = relnamespace where nspname = $1", tenant.Schema); got != 1 {
					t.Errorf("the tables of %s have %d owners", tenant.ID, got)
				}
				if got := ask[bool](t, pool, "select bool_and(pg_has_role(relowner, 'usage') and pg_get_userbyid(relowner) = current_user) from pg_class c join pg_namespace n on n.oid = relnamespace where nspname = $1", tenant.Schema); !got {
					t.Errorf("the tables of %s are not the administrator's", tenant.ID)
				}
				if err := c.Resume(t.Context(), tenant.ID); err != nil {
					t.Fatal(err)
				}
				theirs := db.WithContext(scope.With(t.Context(), tenant.ID))
				for _, s := range []string{"insert into notes (text) values ('x')", "insert into outside default values", "insert into invoices (title) values ('x')"} {
					if err := theirs.Exec(s).Error; err != nil {
						t.Errorf("%s: %s: %v", tenant.ID, s, err)
					}
				}
				if err := theirs.Exec("drop table notes").Error; (err == nil) != (opts == nil && tenant.Kind == catalog.OwnSchema) {
					t.Errorf("%s drops its table: %v", tenant.ID, err)
				}
			}
		})
	}
}

// databaseOf returns the name of the database of a connection string of pgtest.
func databaseOf(t testing.TB, dsn string) string {
	t.Helper()
	return ask[string](t, admin(t, dsn), "select current_database()::text")
}

// TestATenantMadeAnewUnderItsOldIDIsNotTakenForTheFirst.
func TestATenantMadeAnewUnderItsOldIDIsNotTakenForTheFirst(t *testing.T) {
	t.Parallel()
	c, db, _ := service(t, two[:1])
	id := fresh("again")
	first := makeTenant(t, c, catalog.New{ID: id, Server: catalog.Main})
	m := migrator.New(db, c, two)
	if _, err := m.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Drop(t.Context(), first.ID, id); err != nil {
		t.Fatal(err)
	}
	makeTenant(t, c, catalog.New{ID: id, Server: catalog.Main})
	status, err := m.Status(t.Context(), migrator.Selection{})
	if err != nil || len(status) != 1 || status[0].State != migrator.Pending || status[0].Last != "0001" || status[0].Run != 0 {
		t.Errorf("got %+v, %v", status, err)
	}
	report, err := m.Run(t.Context())
	if err != nil || len(report.Results) != 1 || !slices.Equal(report.Results[0].Applied, []string{"0002"}) {
		t.Errorf("got %+v, %v", report, err)
	}
}

// TestATenantDroppedDuringTheRunDoesNotFailIt, nor stop it.
func TestATenantDroppedDuringTheRunDoesNotFailIt(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]migrator.RunOption{"by default": nil, "that stops at the first failure": {migrator.StopAfter(1)}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, db, dsn := service(t, two[:1])
			prefix := fresh("run")
			for _, id := range []string{"-a", "-b", "-c", "-d"} {
				makeTenant(t, c, catalog.New{ID: prefix + id, Server: catalog.Main})
			}
			gone := tenants(t, prefix+"-b")[0]
			migrations := append(slices.Clone(two), &gormigrate.Migration{ID: "0003", Migrate: func(tx *gorm.DB) error {
				if tenant, err := scope.From(tx.Statement.Context); err != nil || tenant.String() != prefix+"-a" {
					return err
				}
				return c.Drop(t.Context(), gone, gone.String())
			}})
			report, err := migrator.New(db, c, migrations, migrator.WithConcurrency(1)).Run(t.Context(), opts...)
			if err != nil || len(report.Results) != 3 || report.Count(migrator.Current) != 3 {
				t.Errorf("got %+v, %v", report, err)
			}
			if n := ask[int](t, admin(t, dsn), "select count(*)::int from tenantry.ledger where tenant = $1", gone.String()); n != 0 {
				t.Error("the dropped tenant is still in the ledger")
			}
		})
	}
}

// TestLimitsAreKeptAndUsed: as many at a time as the limits allow, and not more. A
// server with much to do does not keep the others waiting.
func TestLimitsAreKeptAndUsed(t *testing.T) {
	t.Parallel()
	var ids []string
	for i := range 12 {
		ids = append(ids, fmt.Sprintf("t-%02d-s%d", i, i/6))
	}
	tests := map[string]struct {
		opts             []migrator.Option
		total, perServer int64
		mustReach        int64
	}{
		"one at a time":    {[]migrator.Option{migrator.WithConcurrency(1)}, 1, 1, 1},
		"total":            {[]migrator.Option{migrator.WithConcurrency(3)}, 3, 3, 3},
		"per server":       {[]migrator.Option{migrator.WithConcurrency(2), migrator.WithServerConcurrency(1)}, 2, 1, 2},
		"per server, many": {[]migrator.Option{migrator.WithConcurrency(4), migrator.WithServerConcurrency(2)}, 4, 2, 4},
		"by default":       {nil, 4, 4, 4},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var all [3]atomic.Int64 // both servers, and all
			var most [3]atomic.Int64
			reached := make(chan struct{})
			migrations := []*gormigrate.Migration{{ID: "0001", Migrate: func(tx *gorm.DB) error {
				tenant, err := scope.From(tx.Statement.Context)
				if err != nil {
					return err
				}
				server := int(tenant.String()[len(tenant.String())-1] - '0')
				for _, i := range []int{server, 2} {
					n := all[i].Add(1)
					defer all[i].Add(-1)
					for old := most[i].Load(); n > old && !most[i].CompareAndSwap(old, n); old = most[i].Load() {
					}
					if i == 2 && n == tt.mustReach {
						select {
						case <-reached:
						default:
							close(reached)
						}
					}
				}
				select {
				case <-reached: // the first ones wait until as many as may are here
				case <-time.After(5 * time.Second):
				}
				return nil
			}}}
			m := migrator.New(open(t, pgtest.Database(t), plugin.BySchema()), rings(t, ids...), migrations, tt.opts...)
			if _, err := m.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if a, b, n := most[0].Load(), most[1].Load(), most[2].Load(); n != tt.total || a > tt.perServer || b > tt.perServer {
				t.Errorf("at most %d and %d on the servers, %d in all, want %d each and %d in all", a, b, n, tt.perServer, tt.total)
			}
		})
	}
}

// TestASlowServerDoesNotHoldUpTheOthers: a tenant that waits for room on its server
// has none of the room that all servers share.
func TestASlowServerDoesNotHoldUpTheOthers(t *testing.T) {
	t.Parallel()
	var quick atomic.Int64
	through := make(chan struct{})
	migrations := []*gormigrate.Migration{{ID: "0001", Migrate: func(tx *gorm.DB) error {
		tenant, err := scope.From(tx.Statement.Context)
		switch {
		case err != nil:
			return err
		case tenant.String() == "a-slow":
			select {
			case <-through:
				return nil
			case <-time.After(10 * time.Second):
				return fmt.Errorf("only %d tenants of the other server are through", quick.Load())
			}
		case strings.HasSuffix(tenant.String(), "quick") && quick.Add(1) == 5:
			close(through)
		}
		return nil
	}}}
	fleet := rings(t, "a-slow", "b-slow", "c-slow", "a-quick", "b-quick", "c-quick", "d-quick", "e-quick")
	m := migrator.New(open(t, pgtest.Database(t), plugin.BySchema()), fleet, migrations, migrator.WithConcurrency(2), migrator.WithServerConcurrency(1))
	if _, err := m.Run(t.Context()); err != nil {
		t.Error(err)
	}
}
