package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/isolation"
	pgdsn "github.com/tenantry/tenantry/internal/pgserver/dsn"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

const (
	isolationTenants    = 24
	isolationGoroutines = 64
	isolationBudget     = 12 // connections for each server, and of the base pool
	isolationStatements = 20_000
	isolationLifetime   = 100 * time.Millisecond
	isolationKillEvery  = 200 * time.Millisecond
)

// TestIsolation runs over tenants on two servers, while others are made,
// suspended, resumed and dropped.
func TestIsolation(t *testing.T) {
	for name, c := range map[string]struct {
		kinds []catalog.Kind
		opts  []catalog.Option
	}{
		"schemas":   {kinds: []catalog.Kind{catalog.OwnSchema}},
		"databases": {kinds: []catalog.Kind{catalog.OwnDatabase}},
		"mix":       {kinds: []catalog.Kind{catalog.OwnSchema, catalog.OwnDatabase}, opts: []catalog.Option{catalog.WithRoles()}},
	} {
		t.Run(name, func(t *testing.T) { runIsolation(t, "isolation_"+name, c.kinds, c.opts) })
	}
}

func runIsolation(t *testing.T, app string, kinds []catalog.Kind, opts []catalog.Option) {
	f := newIsolationFleet(t, app, opts)
	places := make([]isolation.Place, isolationTenants)
	for i := range places {
		places[i] = f.place(create(t, f.catalog, catalog.New{
			ID: fmt.Sprintf("t%02d", i), Kind: kinds[i%len(kinds)], Server: []string{catalog.Main, "second"}[i/2%2],
		}))
	}
	isolation.Fill(t, places)
	var lives atomic.Int64
	result := isolation.Run(t, isolation.Config{
		DB: f.db, Places: places, Goroutines: isolationGoroutines, Statements: inProportion(t, isolationStatements),
		KillEvery: isolationKillEvery, Killers: []*pgxpool.Pool{f.admins[f.dsns[0]], f.admins[f.dsns[1]]}, AppName: app,
		Meanwhile: func(ctx context.Context) error { return f.churn(ctx, kinds, &lives) },
	})
	t.Log(result, lives.Load(), "tenants came and went")
	for i, wrong := range append(result.Leaks, result.Errors...) {
		if i < 20 {
			t.Error(wrong)
		}
	}
	if result.Kills < inProportion(t, 50) || result.Killed == 0 || result.Ended < inProportion(t, 100) || lives.Load() < 5 {
		t.Errorf("too little went wrong or came and went on purpose: %s, %d tenants", result, lives.Load())
	}
}

// inProportion returns n, or what it becomes where the environment changes the number of
// statements that the plugin's isolation test sends.
func inProportion(t *testing.T, n int64) int64 {
	t.Helper()
	const usual = 200_000
	return n * isolation.Statements(t, usual) / usual
}

// isolationFleet is a service on two servers.
type isolationFleet struct {
	catalog *catalog.Catalog
	db      *gorm.DB
	dsns    [2]string                // of the shared databases: main's, second's
	admins  map[string]*pgxpool.Pool // by connection string
	t       *testing.T
}

func newIsolationFleet(t *testing.T, app string, opts []catalog.Option) *isolationFleet {
	t.Helper()
	f := &isolationFleet{t: t, admins: map[string]*pgxpool.Pool{}}
	f.dsns = [2]string{pgtest.Database(t), pgtest.DatabaseOn(t, pgtest.Server(t).DSN())}
	for _, dsn := range f.dsns {
		f.admins[dsn] = admin(t, dsn)
	}
	// Only the connections under test bear the name by which backends are killed.
	name := func(cfg *pgxpool.Config) error {
		cfg.ConnConfig.RuntimeParams["application_name"] = app
		cfg.MaxConnLifetime = isolationLifetime
		return nil
	}
	pools := catalog.WithPools(plugin.WithBudget(isolationBudget), plugin.WithDatabaseConfig(name))
	f.catalog = open(t, f.dsns[0], append(opts, pools)...)
	if err := f.catalog.AddServer(t.Context(), catalog.NewServer{Name: "second", ConnString: f.dsns[1]}); err != nil {
		t.Fatal(err)
	}
	f.db = use(t, f.dsns[0], f.catalog, nil, plugin.WithMaxConns(isolationBudget), plugin.WithPoolConfig(name))
	return f
}

// place returns where the harness finds a tenant's tables, past the catalog.
func (f *isolationFleet) place(tenant catalog.Tenant) isolation.Place {
	dsn := f.dsns[0]
	if tenant.Server != catalog.Main {
		dsn = f.dsns[1]
	}
	if tenant.Kind == catalog.OwnDatabase {
		dsn = inDatabase(f.t, dsn, tenant.Database)
	}
	if f.admins[dsn] == nil {
		f.admins[dsn] = admin(f.t, dsn)
	}
	return isolation.Place{Tenant: tenant.ID, Admin: f.admins[dsn], Schema: tenant.Schema}
}

// inDatabase returns dsn with another database.
func inDatabase(t testing.TB, dsn, database string) string {
	t.Helper()
	changed, err := pgdsn.WithDatabase(dsn, database)
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

// churn makes tenants, uses them, suspends, resumes and drops them until ctx
// ends.
func (f *isolationFleet) churn(ctx context.Context, kinds []catalog.Kind, lives *atomic.Int64) error {
	var group sync.WaitGroup
	errs := make([]error, 2)
	for worker := range errs {
		group.Go(func() {
			for n := 0; ctx.Err() == nil && errs[worker] == nil; n++ {
				id, _ := scope.Parse(fmt.Sprintf("churn-%d", worker)) // the same one again and again
				server := []string{catalog.Main, "second"}[n%2]
				if err := f.live(context.WithoutCancel(ctx), id, kinds[n%len(kinds)], server); err != nil {
					errs[worker] = fmt.Errorf("life %d of %s: %w", n, id, err)
				}
				lives.Add(1)
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// live is the life of one tenant.
func (f *isolationFleet) live(ctx context.Context, id scope.Tenant, kind catalog.Kind, server string) error {
	if _, err := f.catalog.Create(ctx, catalog.New{ID: id.String(), Kind: kind, Server: server}); err != nil {
		return err
	}
	if err := f.onlyOwn(ctx, id, 1); err != nil {
		return err
	}
	if err := f.catalog.Suspend(ctx, id); err != nil {
		return err
	}
	var n int64
	if err := f.db.WithContext(scope.With(ctx, id)).Model(&Invoice{}).Count(&n).Error; !errors.Is(err, catalog.ErrSuspended) {
		return fmt.Errorf("a suspended tenant's statement: %w", err)
	}
	if err := f.catalog.Resume(ctx, id); err != nil {
		return err
	}
	if err := f.onlyOwn(ctx, id, 2); err != nil {
		return err
	}
	return f.catalog.Drop(ctx, id, id.String())
}

// onlyOwn adds an invoice, after which there must be so many: a tenant finds
// nothing of the one that bore its id before. A backend that is killed meanwhile
// is no reason to fail, and a dial that
// was killed is remembered for two seconds.
func (f *isolationFleet) onlyOwn(ctx context.Context, id scope.Tenant, want int64) (err error) {
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-again.C {
		db := f.db.WithContext(scope.With(ctx, id))
		err = db.Transaction(func(tx *gorm.DB) error {
			var n int64
			if err := errors.Join(tx.Save(&Invoice{ID: want, Title: id.String()}).Error, tx.Model(&Invoice{}).Count(&n).Error); err != nil {
				return err
			}
			if n != want {
				return fmt.Errorf("%d invoices, want %d", n, want)
			}
			return nil
		})
		if err == nil || strings.Contains(err.Error(), "invoices, want") {
			return err
		}
	}
	return err
}
