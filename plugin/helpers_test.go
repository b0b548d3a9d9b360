package plugin_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// Invoice, Line and Label are the models of these tests: one to many and many
// to many.
type Invoice struct {
	ID     int64
	Title  string
	Cents  int64
	Lines  []Line
	Labels []Label `gorm:"many2many:invoice_labels"`

	hooked []string
}

type Line struct {
	ID        int64
	InvoiceID int64
	Text      string
	Invoice   *Invoice
}

type Label struct {
	ID   int64
	Name string
}

// AfterFind runs SQL in a hook, which must go to the same tenant.
func (i *Invoice) AfterFind(tx *gorm.DB) error {
	if _, ok := tx.Get("hook"); !ok {
		return nil
	}
	return tx.Session(&gorm.Session{NewDB: true}).Model(&Label{}).Pluck("name", &i.hooked).Error
}

func tenant(t testing.TB, id string) scope.Tenant {
	t.Helper()
	parsed, err := scope.Parse(id)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func as(t testing.TB, id string) context.Context {
	t.Helper()
	return scope.With(t.Context(), tenant(t, id))
}

// admin returns a direct pool on dsn, past the plugin.
func admin(t testing.TB, dsn string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func mustExec(t testing.TB, pool *pgxpool.Pool, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		if _, err := pool.Exec(context.Background(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

// open returns a database with the plugin, closed at the end of the test.
func open(t testing.TB, dsn string, cfg *gorm.Config, strategy plugin.Strategy, opts ...plugin.Option) (*gorm.DB, *plugin.Plugin) {
	t.Helper()
	db := openPlain(t, dsn, cfg)
	p := plugin.New(strategy, opts...)
	if err := db.Use(p); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return db, p
}

func openPlain(t testing.TB, dsn string, cfg *gorm.Config) *gorm.DB {
	t.Helper()
	if cfg == nil {
		cfg = &gorm.Config{}
	}
	cfg.Logger = logger.Discard
	db, err := gorm.Open(postgres.Open(dsn), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// twoTenants returns a database with the tenants a and b, who have an invoice of
// the same id each, with a line and a label.
func twoTenants(t testing.TB, cfg *gorm.Config, opts ...plugin.Option) (*gorm.DB, *plugin.Plugin, string) {
	t.Helper()
	dsn := pgtest.Database(t)
	mustExec(t, admin(t, dsn), "create schema tenant_a", "create schema tenant_b")
	db, p := open(t, dsn, cfg, plugin.BySchema(), opts...)
	for _, id := range []string{"a", "b"} {
		seed(t, db, id)
	}
	return db, p, dsn
}

// seed gives a tenant the tables and the rows that the entry points work on.
func seed(t testing.TB, db *gorm.DB, id string) {
	t.Helper()
	db = db.WithContext(as(t, id))
	if err := db.AutoMigrate(&Invoice{}, &Line{}, &Label{}); err != nil {
		t.Fatal(err)
	}
	first := &Invoice{Title: id, Lines: []Line{{Text: "line of " + id}}, Labels: []Label{{Name: "label of " + id}}}
	if err := db.Create(first).Error; err != nil {
		t.Fatal(err)
	}
}

// mustBeOwn looks at what an entry point has seen.
func mustBeOwn(t testing.TB, name, id string, seen []string) {
	t.Helper()
	for _, s := range seen {
		if s != "" && s != id && s != "line of "+id && s != "label of "+id {
			t.Errorf("%s for %s has seen %q", name, id, s)
		}
	}
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

// one returns the one value that a query gives.
func one[T any](t testing.TB, pool *pgxpool.Pool, query string, args ...any) (value T) {
	t.Helper()
	if err := pool.QueryRow(context.Background(), query, args...).Scan(&value); err != nil {
		t.Fatal(err)
	}
	return value
}
