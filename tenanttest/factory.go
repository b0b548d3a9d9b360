package tenanttest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/driver"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/scope"
)

// limit is how long anything may take that is done for a test at its begin or end.
const limit = time.Minute

// Factory makes tenants for tests. It is safe for concurrent use. It holds up to
// five connections of its own; the tests' statements run on those of the
// application.
type Factory struct {
	db         *gorm.DB
	connector  *driver.Connector // of db
	migrations migrator.Migrations
	pool       *pgxpool.Pool // for what is done to schemas as a whole
	life       *life
	making     chan struct{} // full while a tenant is made: see make

	mu     sync.Mutex // guards idle and closed; not held during I/O
	idle   []*schema  // as the migrations left them, and nobody's
	closed bool
}

// New returns a factory of tenants in which migrations have run. db is the
// application's, with the plugin on it, open on a database for tests; its
// strategy must be plugin.BySchema, or another that keeps tenants in schemas which
// nobody else makes. The connection must be direct, not through a pooler.
//
// New makes the first tenant, so that an error in the migrations is New's. It also
// drops what processes that were killed have left in the database. It drops no
// schema of a process that lives, and none that a Factory has not made.
//
// Call it once for each package, in TestMain or by sync.OnceValues, and Close the
// factory if there is a place to do so, before the pool of db.
func New(db *gorm.DB, migrations migrator.Migrations) (*Factory, error) {
	connector, err := connectorOf(db)
	if err != nil {
		return nil, err
	}
	f := &Factory{db: db.Session(&gorm.Session{NewDB: true}), connector: connector, migrations: migrations, making: make(chan struct{}, 1)}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := f.open(ctx); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// connectorOf refuses a database without the plugin: there, all tests would share
// one schema.
func connectorOf(db *gorm.DB) (*driver.Connector, error) {
	if db == nil {
		return nil, errors.New("tenanttest: the *gorm.DB is nil")
	}
	if db.DryRun {
		return nil, errors.New("tenanttest: the *gorm.DB is in DryRun mode, and would make no tables")
	}
	pool, err := db.DB()
	if err != nil {
		return nil, fmt.Errorf("tenanttest: %w", err)
	}
	connector, ok := driver.Of(pool)
	if !ok {
		return nil, errors.New("tenanttest: the tenantry plugin is not registered on this *gorm.DB: call db.Use(plugin.New(plugin.BySchema())) first")
	}
	return connector, nil
}

// open begins the factory's life, and ends that of the dead.
func (f *Factory) open(ctx context.Context) (err error) {
	cfg := f.connector.Base.Config()
	cfg.MinConns, cfg.MinIdleConns, cfg.MaxConns = 0, 0, 5
	driver.SetFormats(cfg.ConnConfig)
	if f.pool, err = pgxpool.NewWithConfig(ctx, cfg); err != nil {
		return fmt.Errorf("tenanttest: %w", err)
	}
	if f.life, err = begin(ctx, f.pool); err != nil {
		return err
	}
	if err := sweep(ctx, f.pool); err != nil {
		return err
	}
	s, err := f.make(ctx, random())
	if err != nil {
		return err
	}
	if s.unfit != nil {
		return s.drop(ctx, f.pool)
	}
	if err := s.rename(ctx, f.pool, idleName()); err != nil {
		return err
	}
	f.put(s)
	return nil
}

// Tenant returns the context of t with the scope of a fresh tenant, or ends t by
// FailNow. Each call returns another tenant; scope.From tells which. When t and its
// subtests have ended the tenant is gone: its schema is no longer there by that
// name, and what still runs for it gets an error. A transaction that is left open
// by then fails t.
//
// What belongs to no tenant, such as the tables of scope.Shared, all tests share.
func (f *Factory) Tenant(t testing.TB) context.Context {
	t.Helper()
	tenant := random()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	s, err := f.take(ctx, tenant)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), limit)
		defer cancel()
		f.giveBack(ctx, t, s)
	})
	return scope.With(t.Context(), tenant)
}

// Close drops all schemas that the factory has made, and closes its connections. A
// Factory that is not closed leaves the schemas that wait for another test to the
// next process that calls [New] on the same database. It is safe to call Close more
// than once.
func (f *Factory) Close() error {
	f.mu.Lock()
	again := f.closed
	f.closed, f.idle = true, nil
	f.mu.Unlock()
	if again || f.pool == nil {
		return nil
	}
	defer f.pool.Close()
	if f.life == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	err := dropAll(ctx, f.pool, f.life.key)
	f.life.end()
	return err
}

// take returns a schema for tenant: one that another test has used, or a new one.
func (f *Factory) take(ctx context.Context, tenant scope.Tenant) (*schema, error) {
	s, err := f.pop()
	if err != nil {
		return nil, err
	}
	if s == nil {
		return f.make(ctx, tenant)
	}
	name, err := f.schemaOf(ctx, tenant)
	if err == nil {
		err = s.rename(ctx, f.pool, name)
	}
	return s, err
}

// giveBack makes a schema ready for another test, or drops it. When a test has
// failed, everything goes that is idle: after a panic there is no other occasion.
func (f *Factory) giveBack(ctx context.Context, t testing.TB, s *schema) {
	t.Helper()
	rest := []*schema{s}
	if t.Failed() {
		rest = append(rest, f.popAll()...)
	} else if err := s.reset(ctx, f.pool); err != nil {
		t.Logf("tenanttest: the schema is not used again: %v", err)
	} else if f.put(s) {
		return
	}
	for _, s := range rest {
		if err := s.drop(ctx, f.pool); err != nil {
			t.Error(err)
		}
	}
}

// pop returns an idle schema, or nil if there is none.
func (f *Factory) pop() (*schema, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, errors.New("tenanttest: the factory is closed")
	}
	if len(f.idle) == 0 {
		return nil, nil
	}
	s := f.idle[len(f.idle)-1]
	f.idle = f.idle[:len(f.idle)-1]
	return s, nil
}

func (f *Factory) popAll() []*schema {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.idle
	f.idle = nil
	return all
}

// put keeps s for another test, and reports whether there may be one.
func (f *Factory) put(s *schema) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		f.idle = append(f.idle, s)
	}
	return !f.closed
}

// random returns a tenant that nobody has. Its id would do as a subdomain.
func random() scope.Tenant {
	t, err := scope.Parse("test" + strings.ToLower(rand.Text()))
	if err != nil {
		panic(err) // letters and digits
	}
	return t
}

// idleName returns a name for a schema that is nobody's.
func idleName() string { return "tenanttest_" + strings.ToLower(rand.Text()) }
