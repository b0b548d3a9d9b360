package plugin_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// TestAMissingSchemaIsAnErrorAndTouchesNothing: PostgreSQL itself would pass
// over the missing schema and take the shared tables of the same names.
func TestAMissingSchemaIsAnErrorAndTouchesNothing(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	pool := admin(t, dsn)
	mustExec(t, pool, "create schema commons",
		"create table commons.invoices (id bigserial primary key, title text, cents bigint default 7)",
		"create table commons.lines (id bigserial primary key, invoice_id bigint, text text)",
		"create table commons.labels (id bigserial primary key, name text)",
		"create table commons.invoice_labels (invoice_id bigint, label_id bigint)",
		"insert into commons.invoices (id, title) values (1, 'everybody''s')",
		"create table public.invoices (id bigint)")
	before := fingerprint(t, pool)
	for name, strategy := range map[string]plugin.Strategy{
		"without shared schemas": plugin.BySchema(),
		"with shared schemas":    plugin.BySchema(plugin.WithSharedSchemas("commons", "public")),
	} {
		db, _ := open(t, dsn, nil, strategy, plugin.WithMaxConns(2))
		for _, e := range entryPoints() {
			seen, err := e.run(as(t, "ghost"), db)
			var pgErr *pgconn.PgError
			if !errors.As(err, &pgErr) || pgErr.Code != "3F000" {
				t.Errorf("%s, %s: saw %q and error %v, want 3F000", name, e.name, seen, err)
				continue
			}
			var tenantErr *scope.TenantError
			if !errors.As(err, &tenantErr) || tenantErr.Tenant != tenant(t, "ghost") {
				t.Errorf("%s, %s: error %v does not name the tenant", name, e.name, err)
			}
			if !strings.Contains(err.Error(), "migrator") {
				t.Errorf("%s, %s: error %v does not say what to do", name, e.name, err)
			}
		}
	}
	if after := fingerprint(t, pool); after != before {
		t.Errorf("the database went from\n%s\nto\n%s", before, after)
	}
}

// fingerprint lists every table outside PostgreSQL's own schemas, temporary ones
// included, with its rows.
func fingerprint(t *testing.T, pool *pgxpool.Pool) string {
	t.Helper()
	var s string
	err := pool.QueryRow(context.Background(), `select string_agg(format('%s.%s %s', n.nspname, c.relname,
			(xpath('//c/text()', query_to_xml(format('select md5(string_agg(t::text, '','')) as c from %I.%I t', n.nspname, c.relname), false, true, '')))[1]), E'\n' order by 1)
		from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where c.relkind = 'r' and n.nspname not in ('pg_catalog', 'information_schema')`).Scan(&s)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestASchemaWithoutTheRightToUseIt: PostgreSQL passes over it in search_path,
// as over a missing one.
func TestASchemaWithoutTheRightToUseIt(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	pool := admin(t, dsn)
	role := fmt.Sprintf("limited_%d", time.Now().UnixNano())
	mustExec(t, pool, "create role "+role, "create schema tenant_a",
		"create table tenant_a.invoices (id bigserial, title text, cents bigint)",
		"create table public.invoices (id bigserial, title text, cents bigint)",
		"grant all on schema public to "+role, "grant all on all tables in schema public to "+role, "grant all on all sequences in schema public to "+role)
	t.Cleanup(func() { mustExec(t, pool, "drop owned by "+role, "drop role "+role) })
	limited := placements(func(base *pgxpool.Pool) (plugin.Placement, error) {
		return plugin.Placement{Pool: base, Schema: "tenant_a", Settings: []plugin.Setting{
			{Name: "search_path", Value: "tenant_a, public, pg_temp"}, {Name: "role", Value: role},
		}}, nil
	})
	db, _ := open(t, dsn, nil, limited)
	before := fingerprint(t, pool)
	for _, e := range entryPoints() {
		_, err := e.run(as(t, "a"), db)
		mustSay(t, err, "grant USAGE", "tenant_a", `"a"`)
	}
	if after := fingerprint(t, pool); after != before {
		t.Errorf("the database went from\n%s\nto\n%s", before, after)
	}
}

func TestASchemaThatIsDroppedBecomesAnError(t *testing.T) {
	t.Parallel()
	db, _, dsn := twoTenants(t, nil)
	mustExec(t, admin(t, dsn), "drop schema tenant_a cascade")
	mustSay(t, db.WithContext(as(t, "a")).Find(&[]Invoice{}).Error, "tenant_a", "does not exist")
	if err := db.WithContext(as(t, "b")).Find(&[]Invoice{}).Error; err != nil {
		t.Error(err)
	}
}

// placements is a strategy of a test's own.
type placements func(base *pgxpool.Pool) (plugin.Placement, error)

func (f placements) Place(_ context.Context, base *pgxpool.Pool, _ scope.Tenant) (plugin.Placement, error) {
	return f(base)
}

func (f placements) PlaceShared(_ context.Context, base *pgxpool.Pool) (plugin.Placement, error) {
	return f(base)
}

func TestBadPlacementsAreErrors(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	foreign := admin(t, dsn) // not prepared
	set := func(name, value string) placements {
		return func(base *pgxpool.Pool) (plugin.Placement, error) {
			return plugin.Placement{Pool: base, Settings: []plugin.Setting{{Name: name, Value: value}}}, nil
		}
	}
	tests := []struct {
		name     string
		strategy plugin.Strategy
		words    []string
	}{
		{"an error", placements(func(*pgxpool.Pool) (plugin.Placement, error) { return plugin.Placement{}, errors.New("no such row") }), []string{"no such row", `"a"`}},
		{"no pool", placements(func(*pgxpool.Pool) (plugin.Placement, error) { return plugin.Placement{}, nil }), []string{"no pool"}},
		{"a pool without the filter", placements(func(*pgxpool.Pool) (plugin.Placement, error) { return plugin.Placement{Pool: foreign}, nil }), []string{"PreparePool"}},
		{"a setting's name with SQL", set("search_path; drop schema public", "x"), []string{"name of a setting"}},
		{"a setting without a name", set("", "x"), []string{"no name"}},
		{"a setting with NUL", set("search_path", "a\x00b"), []string{"NUL"}},
		{"an unknown setting", set("no_such_setting", "x"), []string{"no_such_setting", `"a"`}},
		{"a name that is too long", plugin.BySchema(plugin.WithSchemaName(func(scope.Tenant) string { return strings.Repeat("x", 64) })), []string{"64 bytes"}},
		{"an upper-case name", plugin.BySchema(plugin.WithSchemaName(func(scope.Tenant) string { return "Acme" })), []string{"lower case"}},
		{"an empty name", plugin.BySchema(plugin.WithSchemaName(func(scope.Tenant) string { return "" })), []string{"empty"}},
		{"PostgreSQL's name", plugin.BySchema(plugin.WithSchemaName(func(scope.Tenant) string { return "information_schema" })), []string{"information_schema"}},
		{"the default shared name", plugin.BySchema(plugin.WithSchemaName(func(scope.Tenant) string { return "public" })), []string{"public", "shared"}},
		{"a shared name", plugin.BySchema(plugin.WithSchemaName(func(scope.Tenant) string { return "commons" }), plugin.WithSharedSchemas("commons")), []string{"commons", "shared"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			db, _ := open(t, dsn, nil, tt.strategy)
			mustSay(t, db.WithContext(as(t, "a")).Exec("select 1").Error, tt.words...)
			mustSay(t, db.WithContext(as(t, "a")).Transaction(func(tx *gorm.DB) error { return tx.Raw("select ?::int", 1).Scan(new(int)).Error }), tt.words...)
		})
	}
}

// TestNamesAreQuoted uses names that end quotes and values with backslashes, in
// each of the ways in which settings travel.
func TestNamesAreQuoted(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	names := []string{`a"b`, `a'b`, `a\b`, `a,b`, `a b`, `a;b--`, `ünï`, `0123`}
	for _, name := range names {
		strategy := plugin.BySchema(plugin.WithSchemaName(func(scope.Tenant) string { return name }))
		db, _ := open(t, dsn, nil, strategy)
		mustExec(t, admin(t, dsn), `create schema "`+strings.ReplaceAll(name, `"`, `""`)+`"`)
		db = db.WithContext(as(t, "a"))
		in := func(db *gorm.DB, how string) {
			t.Helper()
			var got string
			if err := db.Raw("select current_schema()").Scan(&got).Error; err != nil || got != name {
				t.Errorf("%s, %s: in schema %q, error %v", name, how, got, err)
			}
		}
		in(db, "statement")
		if err := db.Transaction(func(tx *gorm.DB) error { in(tx, "transaction"); return nil }); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for i, sql := range []string{"create table x (id int); create table y (id int)", "vacuum x", "create index concurrently on x (id)"} {
			if err := db.Exec(sql).Error; err != nil {
				t.Errorf("%s, text %d: %v", name, i, err)
			}
		}
	}
}
