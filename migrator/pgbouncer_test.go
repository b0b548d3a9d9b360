//go:build integration

package migrator_test

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-gormigrate/gormigrate/v2"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/pgbouncer"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// bounced returns a database, and a connection string of it through PgBouncer in
// transaction mode.
func bounced(t *testing.T) (direct, through string) {
	t.Helper()
	direct = pgtest.Database(t)
	b := pgbouncer.Start(t, pgbouncer.Config{Target: direct, PoolSize: 6})
	return direct, b.DSN(direct)
}

// TestMigrationsRunThroughPgBouncer, by two processes, and what can't is refused with
// what to do about it.
func TestMigrationsRunThroughPgBouncer(t *testing.T) {
	t.Parallel()
	direct, through := bounced(t)
	pool, list := admin(t, direct), many(t, 12)
	shared := migrator.WithShared(migrator.Migrations{text("s1", "create table plans ()")})
	var wg sync.WaitGroup
	for range 2 {
		db := open(t, through, plugin.BySchema())
		wg.Go(func() {
			if _, err := migrator.New(db, list, two, shared).Run(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	m := migrator.New(open(t, through, plugin.BySchema()), list, withIndex())
	report, err := m.Run(t.Context())
	for _, w := range []string{"outside of a transaction", "WithDirect", "pooler"} {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("error %v does not contain %q", err, w)
		}
	}
	if err != nil && strings.Contains(err.Error(), "invalid indexes") {
		t.Errorf("it speaks of indexes, though nothing has begun: %v", err)
	}
	for _, r := range report.Results {
		if len(r.Applied) > 0 || r.State != migrator.Failed || r.Attempts != 1 {
			t.Errorf("got %+v", r)
		}
	}
	if _, err := m.Status(t.Context(), migrator.Selection{}); err != nil {
		t.Error(err)
	}
	if _, err := m.Verify(t.Context(), migrator.Selection{}); err != nil {
		t.Error(err)
	}
	if _, err := m.PlanSQL(t.Context()); err != nil {
		t.Error(err)
	}
	sessionsAreClean(t, open(t, through, plugin.BySchema()), list)
	noLocks(t, pool)
}

// sessionsAreClean looks at many connections of the pooler.
func sessionsAreClean(t *testing.T, db *gorm.DB, list migrator.List) {
	t.Helper()
	var wg sync.WaitGroup
	for _, tenant := range list {
		wg.Go(func() {
			var got string
			err := db.WithContext(scope.With(t.Context(), tenant)).Raw("select concat_ws(' ', current_setting('lock_timeout'), current_setting('statement_timeout'), current_schema())").Scan(&got).Error
			if want := "0 0 tenant_" + tenant.String(); err != nil || got != want {
				t.Errorf("got %q, %v, want %q", got, err, want)
			}
		})
	}
	wg.Wait()
}

// TestDirectGoesPastPgBouncer: the application stays behind the pooler.
func TestDirectGoesPastPgBouncer(t *testing.T) {
	t.Parallel()
	direct, through := bounced(t)
	pool, list := admin(t, direct), many(t, 8)
	var wg sync.WaitGroup
	for range 2 {
		db := open(t, through, plugin.BySchema())
		wg.Go(func() {
			report, err := migrator.New(db, list, withIndex(), migrator.WithDirect(direct), migrator.WithConcurrency(3)).Run(t.Context())
			if err != nil || report.Count(migrator.Current) != len(list) {
				t.Errorf("got %+v, %v", report, err)
			}
		})
	}
	wg.Wait()
	for _, tenant := range list {
		if got := ask[string](t, pool, indexesOf, "tenant_"+tenant.String()); got != "invoices_title" {
			t.Errorf("%s has the indexes %q", tenant, got)
		}
	}
	sessionsAreClean(t, open(t, through, plugin.BySchema()), list)
	noLocks(t, pool)
}

// TestDirectIsUsedForCatalogsToo, by the tenants in the master database and those
// elsewhere.
func TestDirectIsUsedForCatalogsToo(t *testing.T) {
	t.Parallel()
	c, _, direct := service(t, two)
	b := pgbouncer.Start(t, pgbouncer.Config{Target: direct, PoolSize: 6})
	db := onto(t, b.DSN(direct), c)
	prefix := fresh("past")
	makeTenant(t, c, catalog.New{ID: prefix + "-a", Kind: catalog.OwnSchema, Server: catalog.Main})
	makeTenant(t, c, catalog.New{ID: prefix + "-b", Kind: catalog.OwnDatabase, Server: catalog.Main})
	var seen []string
	migrations := append(withIndex(), migrationThatAsks("0005", "select current_setting('application_name')", &seen))
	report, err := migrator.New(db, c, migrations, migrator.WithDirect(direct+"&application_name=direct"), migrator.WithConcurrency(1)).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range report.Results {
		if !slices.Equal(r.Applied, []string{"0003", "0004", "0005"}) {
			t.Errorf("got %+v", r)
		}
	}
	if len(seen) != 2 || seen[0] != "direct" {
		t.Errorf("the migrations ran as %q", seen)
	}
}

func migrationThatAsks(id, query string, seen *[]string) *gormigrate.Migration {
	return &gormigrate.Migration{ID: id, Migrate: func(tx *gorm.DB) error {
		var got string
		err := tx.Raw(query).Scan(&got).Error
		*seen = append(*seen, got)
		return err
	}}
}
