package cli_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/cli"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// Environment of a test binary that is to be the program itself.
const (
	envArgs = "CLI_TEST_ARGS" // JSON
	envDSN  = "CLI_TEST_DSN"
	envKeys = "CLI_TEST_KEYS"
)

func TestMain(m *testing.M) {
	if args := os.Getenv(envArgs); args != "" {
		os.Exit(child(args))
	}
	os.Exit(m.Run())
}

// child is the program as a process of its own.
func child(args string) int {
	s := &service{dsn: os.Getenv(envDSN), keys: os.Getenv(envKeys)}
	root := cli.New(s.app())
	var list []string
	if err := json.Unmarshal([]byte(args), &list); err != nil {
		panic(err)
	}
	root.SetArgs(list)
	return cli.Execute(context.Background(), root)
}

// service is an application with a database of its own.
type service struct {
	dsn        string
	keys       string
	migrations migrator.Migrations // nil: one
	shared     migrator.Migrations // nil: none
	logged     counter             // what the migrator has logged
	opened     atomic.Int32
	closed     atomic.Int32
}

// counter counts what is written to it.
type counter struct{ atomic.Int32 }

func (c *counter) Write(p []byte) (int, error) {
	c.Add(1)
	return len(p), nil
}

func newService(t testing.TB) *service {
	t.Helper()
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	s := &service{dsn: pgtest.Database(t), keys: base64.StdEncoding.EncodeToString(secret)}
	t.Cleanup(func() { s.clear(t) })
	return s
}

// clear drops what would outlive the test's database.
func (s *service) clear(t testing.TB) {
	t.Helper()
	s.withCatalog(t, func(ctx context.Context, c *catalog.Catalog) error {
		for tenant, err := range c.List(ctx, catalog.Filter{}) {
			if err == nil {
				err = c.Drop(ctx, tenant.ID, tenant.ID.String())
			}
			if err != nil && !errors.Is(err, catalog.ErrForeign) {
				return err
			}
		}
		return nil
	})
}

func (s *service) catalog(ctx context.Context) (*catalog.Catalog, error) {
	secret, err := base64.StdEncoding.DecodeString(s.keys)
	if err != nil {
		return nil, err
	}
	key, err := catalog.NewKey("k1", secret)
	if err != nil {
		return nil, err
	}
	return catalog.Open(ctx, s.dsn, catalog.WithKeys(catalog.FixedKeys{key}), catalog.WithRoles(), catalog.WithoutTemplates(), catalog.WithMigrations(first()))
}

// withCatalog calls f with the catalog.
func (s *service) withCatalog(t testing.TB, f func(context.Context, *catalog.Catalog) error) {
	t.Helper()
	c, err := s.catalog(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f(context.Background(), c), c.Close()); err != nil {
		t.Error(err)
	}
}

// app returns the application.
func (s *service) app() cli.App { return cli.App{Name: "myservice", Open: s.open} }

func (s *service) open(ctx context.Context) (*cli.Service, error) {
	s.opened.Add(1)
	tenants, err := s.catalog(ctx)
	if err != nil {
		return nil, err
	}
	db, closeDB, err := openDB(s.dsn, tenants.Strategy())
	if err != nil {
		return nil, errors.Join(err, tenants.Close())
	}
	return &cli.Service{
		DB: db, Tenants: tenants,
		Migrator: func(opts ...migrator.Option) *migrator.Migrator {
			migrations := s.migrations
			if migrations == nil {
				migrations = first()
			}
			own := []migrator.Option{migrator.WithLogger(slog.New(slog.NewTextHandler(&s.logged, nil)))}
			if s.shared != nil {
				own = append(own, migrator.WithShared(s.shared))
			}
			return migrator.New(db, tenants, migrations, append(own, opts...)...)
		},
		Close: func() error {
			s.closed.Add(1)
			return errors.Join(closeDB(), tenants.Close())
		},
	}, nil
}

func openDB(dsn string, strategy plugin.Strategy) (*gorm.DB, func() error, error) {
	db, err := gorm.Open(postgres.Open(dsn), &gorm.Config{Logger: logger.Discard})
	if err != nil {
		return nil, nil, err
	}
	p := plugin.New(strategy)
	return db, p.Close, db.Use(p)
}

// first is the migration that all tenants of the tests begin with.
func first() migrator.Migrations {
	return migrator.Migrations{{
		ID:      "0001_invoices",
		Migrate: func(tx *gorm.DB) error { return tx.Exec("create table invoices (id bigint, title text)").Error },
	}}
}

// result is what a command line has left.
type result struct {
	code     int
	out, err string
}

// run runs a command line in this process, without a terminal.
func (s *service) run(t testing.TB, args ...string) result {
	t.Helper()
	return run(t, s.app(), args...)
}

func run(t testing.TB, app cli.App, args ...string) result {
	t.Helper()
	return runContext(t.Context(), app, args...)
}

func runContext(ctx context.Context, app cli.App, args ...string) result {
	var out, errs bytes.Buffer
	root := cli.New(app)
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&errs)
	root.SetIn(strings.NewReader("yes\n"))
	code := cli.Execute(ctx, root)
	return result{code: code, out: out.String(), err: errs.String()}
}

// must runs a command line that must work, and returns its output.
func (s *service) must(t testing.TB, args ...string) string {
	t.Helper()
	r := s.run(t, args...)
	r.mustEnd(t, cli.ExitOK)
	return r.out
}

// mustEnd checks the exit code, and what standard error has.
func (r result) mustEnd(t testing.TB, code int, words ...string) {
	t.Helper()
	if r.code != code {
		t.Fatalf("got exit code %d, want %d; output:\n%s\nerror:\n%s", r.code, code, r.out, r.err)
	}
	mustContain(t, r.err, words...)
}

// parse reads a JSON document.
func parse[T any](t testing.TB, text string) (v T) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	if err := d.Decode(&v); err != nil || d.More() {
		t.Fatalf("not one JSON document: %v\n%s", err, text)
	}
	return v
}

func mustContain(t testing.TB, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%q is missing in:\n%s", w, text)
		}
	}
}

// unique returns an id that no other test has: roles are the whole server's.
func unique(base string) string {
	random := make([]byte, 4)
	_, _ = rand.Read(random)
	return base + hex.EncodeToString(random)
}

func tenant(t testing.TB, id string) scope.Tenant {
	t.Helper()
	parsed, err := scope.Parse(id)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// create signs tenants up.
func (s *service) create(t testing.TB, ids ...string) {
	t.Helper()
	s.withCatalog(t, func(ctx context.Context, c *catalog.Catalog) error {
		for _, id := range ids {
			if _, err := c.Create(ctx, catalog.New{ID: id}); err != nil {
				return err
			}
		}
		return nil
	})
}

// ask reads one value past everything.
func ask[T any](t testing.TB, dsn, sql string, args ...any) (v T) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if err := conn.QueryRow(ctx, sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// change runs a statement past everything.
func change(t testing.TB, dsn, sql string, args ...any) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// until waits for a condition.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("still not: %s", what)
		}
	}
}
