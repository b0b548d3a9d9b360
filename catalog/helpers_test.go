package catalog_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-gormigrate/gormigrate/v2"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/httpmw"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// Invoice is what a tenant has.
type Invoice struct {
	ID    int64
	Title string
}

func migrations() migrator.Migrations {
	return migrator.Migrations{{
		ID:      "1-invoices",
		Migrate: func(tx *gorm.DB) error { return tx.AutoMigrate(&Invoice{}) },
	}}
}

// second is a migration that a new version of the service brings.
func second() *gormigrate.Migration {
	return &gormigrate.Migration{
		ID:      "2-notes",
		Migrate: func(tx *gorm.DB) error { return tx.Exec("create table notes (id bigint, text text)").Error },
	}
}

func testKey(t testing.TB, id string) catalog.Key {
	t.Helper()
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	key, err := catalog.NewKey(id, secret)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// open opens a catalog in dsn, with a key and migrations unless opts say otherwise.
func open(t testing.TB, dsn string, opts ...catalog.Option) *catalog.Catalog {
	t.Helper()
	opts = append([]catalog.Option{catalog.WithKeys(catalog.FixedKeys{testKey(t, "k1")}), catalog.WithMigrations(migrations())}, opts...)
	c, err := catalog.Open(t.Context(), dsn, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		dropAll(t, c)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		dropTemplates(t, dsn)
		dropSpares(t, dsn)
	})
	return c
}

// dropAll drops what would outlive the master database of a test.
func dropAll(t testing.TB, c *catalog.Catalog) {
	t.Helper()
	ctx := context.Background()
	for tenant, err := range c.List(ctx, catalog.Filter{}) {
		if err != nil {
			t.Error(err)
			return
		}
		if err := c.Drop(ctx, tenant.ID, tenant.ID.String()); err != nil && !errors.Is(err, catalog.ErrForeign) {
			t.Error(err)
		}
	}
	servers, err := c.Servers(ctx)
	if err != nil {
		t.Error(err)
	}
	for _, s := range servers {
		_ = c.RemoveServer(ctx, s.Name) // and its spares, unless it has tenants still
	}
}

// dropTemplates drops the template databases of the master in dsn.
func dropTemplates(t testing.TB, dsn string) {
	t.Helper()
	pool, err := pgxpool.New(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	for _, name := range templates(t, pool) {
		quoted := pgx.Identifier{name}.Sanitize()
		execute(t, pool, "alter database "+quoted+" with is_template false")
		execute(t, pool, "drop database "+quoted+" with (force)")
	}
}

// templates lists the template databases, drafts too.
func templates(t testing.TB, pool *pgxpool.Pool) []string {
	t.Helper()
	return one[[]string](t, pool, `select coalesce(array_agg(datname::text order by datname), '{}') from pg_database, tenantry.identity
		where starts_with(datname, 'tenantry_' || id || '_')`)
}

// use opens dsn with GORM, with the catalog's strategy.
func use(t testing.TB, dsn string, c *catalog.Catalog, cfg *gorm.Config, opts ...plugin.Option) *gorm.DB {
	t.Helper()
	if cfg == nil {
		cfg = &gorm.Config{}
	}
	cfg.Logger = logger.Discard
	db, err := gorm.Open(postgres.Open(dsn), cfg)
	if err != nil {
		t.Fatal(err)
	}
	p := plugin.New(c.Strategy(), opts...)
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

// service is a master database with a catalog and GORM on it.
func service(t testing.TB, opts ...catalog.Option) (*catalog.Catalog, *gorm.DB, string) {
	t.Helper()
	dsn := pgtest.Database(t)
	c := open(t, dsn, opts...)
	return c, use(t, dsn, c, nil), dsn
}

func create(t testing.TB, c *catalog.Catalog, n catalog.New) catalog.Tenant {
	t.Helper()
	tenant, err := c.Create(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	return tenant
}

func parse(t testing.TB, id string) scope.Tenant {
	t.Helper()
	parsed, err := scope.Parse(id)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func as(t testing.TB, id string) context.Context {
	t.Helper()
	return scope.With(t.Context(), parse(t, id))
}

// admin returns a direct pool on dsn.
func admin(t testing.TB, dsn string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// one reads one value past the catalog.
func one[T any](t testing.TB, pool *pgxpool.Pool, sql string, args ...any) (v T) {
	t.Helper()
	if err := pool.QueryRow(context.Background(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

func mustBe(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

func mustSay(t testing.TB, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", words)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Fatalf("error %q does not contain %q", err, w)
		}
	}
}

func idRef(id string) httpmw.Ref { return httpmw.Ref{Kind: httpmw.KindID, Value: id} }

func subdomain(name string) httpmw.Ref { return httpmw.Ref{Kind: httpmw.KindSubdomain, Value: name} }

func domain(name string) httpmw.Ref { return httpmw.Ref{Kind: httpmw.KindHost, Value: name} }

// eventually waits until f reports true.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for !f() {
		select {
		case <-deadline.C:
			t.Fatalf("it did not happen in time: %s", what)
		case <-again.C:
		}
	}
}

// unique returns an id that no other test has: databases and roles are the whole
// server's.
func unique(base string) string {
	random := make([]byte, 4)
	_, _ = rand.Read(random)
	return base + hex.EncodeToString(random)
}

// journal is a slog.Handler that keeps the messages.
type journal struct {
	mu       sync.Mutex // guards messages
	messages []string
}

func (j *journal) Enabled(context.Context, slog.Level) bool { return true }
func (j *journal) WithAttrs([]slog.Attr) slog.Handler       { return j }
func (j *journal) WithGroup(string) slog.Handler            { return j }

func (j *journal) Handle(_ context.Context, r slog.Record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.messages = append(j.messages, r.Message)
	return nil
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.messages)
}

// objects lists what is made for tenants: all schemas of the database of pool,
// and those databases and roles of its server that are marked as one of the
// master's or whose names begin with the prefix of the test's ids.
func objects(t testing.TB, pool *pgxpool.Pool, identity, prefix string) []string {
	t.Helper()
	return one[[]string](t, pool, `select coalesce(array_agg(name order by name collate "C"), '{}') from (
		select 'schema ' || nspname from pg_namespace
			where nspname !~ '^pg_' and nspname not in ('information_schema', 'public', 'tenantry')
		union all select 'database ' || datname from pg_database
			where starts_with(datname, $2) or starts_with(shobj_description(oid, 'pg_database'), 'tenantry ' || $1 || ' tenant')
			or starts_with(shobj_description(oid, 'pg_database'), 'tenantry ' || $1 || ' spare')
			or starts_with(datname, 'tenantry_' || $1) and datname like '%\_new'
		union all select 'role ' || rolname from pg_roles
			where starts_with(rolname, $2) or starts_with(shobj_description(oid, 'pg_authid'), 'tenantry ' || $1)
	) o (name)`, identity, prefix)
}

// promised lists what there must be, by the catalog's own account.
func promised(t testing.TB, c *catalog.Catalog, server string) []string {
	t.Helper()
	list := []string{}
	for tenant, err := range c.List(t.Context(), catalog.Filter{Server: server}) {
		if err != nil {
			t.Fatal(err)
		}
		if tenant.Kind == catalog.OwnDatabase {
			list = append(list, "database "+tenant.Database)
		} else {
			list = append(list, "schema "+tenant.Schema)
		}
		if tenant.Role != "" {
			list = append(list, "role "+tenant.Role)
		}
	}
	slices.Sort(list)
	return list
}

// mustMatch compares what is there on the master's server with what must be.
func mustMatch(t testing.TB, c *catalog.Catalog, pool *pgxpool.Pool, prefix string) {
	t.Helper()
	got, want := objects(t, pool, identity(t, pool), prefix), promised(t, c, catalog.Main)
	if !slices.Equal(got, want) {
		t.Errorf("there are %q, want %q", got, want)
	}
}

func identity(t testing.TB, pool *pgxpool.Pool) string {
	t.Helper()
	return one[string](t, pool, "select id from tenantry.identity")
}

// works inserts a row as the tenant and reads it, and looks at its tables.
func works(t testing.TB, db *gorm.DB, id string) {
	t.Helper()
	db = db.WithContext(as(t, id))
	if err := db.Create(&Invoice{Title: id}).Error; err != nil {
		t.Errorf("%s: %v", id, err)
		return
	}
	var found []Invoice
	if err := db.Find(&found, "title = ?", id).Error; err != nil || len(found) == 0 {
		t.Errorf("%s: found %v, %v", id, found, err)
	}
	var tables []string
	err := db.Raw("select tablename from pg_tables where schemaname = current_schema() order by 1").Scan(&tables).Error
	if err != nil || !slices.Equal(tables, []string{"invoices", "migrations"}) {
		t.Errorf("%s: has the tables %q, %v", id, tables, err)
	}
}

// execute runs one statement past the catalog.
func execute(t testing.TB, pool *pgxpool.Pool, sql string, args ...any) {
	t.Helper()
	if _, err := pool.Exec(context.Background(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// sqlState returns the code of PostgreSQL's error in err, or "".
func sqlState(err error) string {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return pgErr.Code
	}
	return ""
}
