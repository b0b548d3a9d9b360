package plugin_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

func ExampleBySchema() {
	strategy := plugin.BySchema(
		plugin.WithSchemaName(func(t scope.Tenant) string { return "customer_" + strings.ReplaceAll(t.String(), "-", "_") }),
		plugin.WithSharedSchemas("extensions"), // functions and types that all tenants use
		plugin.WithSharedScope("shared"),       // where scope.Shared works
	)
	fmt.Println(plugin.New(strategy).Name()) // db.Use(plugin.New(strategy))
	// Output: tenantry
}

func ExampleByDatabase() {
	// lookup stands for what you know of your tenants, in memory.
	lookup := map[string]plugin.Database{
		"acme":   {Server: "postgres://db1.internal/?sslmode=verify-full", Name: "acme", User: "acme", Password: "…"},
		"globex": {Server: "postgres://db2.internal/?sslmode=verify-full", Name: "globex", User: "globex", Password: "…"},
	}
	strategy := plugin.ByDatabase(func(_ context.Context, t scope.Tenant) (plugin.Database, error) {
		d, ok := lookup[t.String()]
		if !ok {
			return d, fmt.Errorf("there is no database of tenant %q", t)
		}
		return d, nil
	}, plugin.WithBudget(80), plugin.WithConnsPerDatabase(5))
	fmt.Println(plugin.New(strategy).Name()) // db.Use(plugin.New(strategy))
	// Output: tenantry
}

// byRow keeps all tenants in the same tables, and apart by row level security. PostgreSQL
// itself adds the condition to every statement of the role.
type byRow struct{ tables plugin.Strategy }

func (s byRow) Place(ctx context.Context, base *pgxpool.Pool, t scope.Tenant) (plugin.Placement, error) {
	p, err := s.tables.PlaceShared(ctx, base)
	p.Settings = slices.Concat(p.Settings, []plugin.Setting{{Name: "role", Value: "tenants"}, {Name: "app.tenant", Value: t.String()}})
	return p, err
}

func (s byRow) PlaceShared(ctx context.Context, base *pgxpool.Pool) (plugin.Placement, error) {
	return s.tables.PlaceShared(ctx, base)
}

func ExampleStrategy() {
	strategy := byRow{tables: plugin.BySchema()}
	fmt.Println(plugin.New(strategy).Name()) // db.Use(plugin.New(strategy))
	// Output: tenantry
}

// TestRowLevelSecurityIsAStrategyOfTwoMethods runs the strategy of the example.
func TestRowLevelSecurityIsAStrategyOfTwoMethods(t *testing.T) {
	dsn := pgtest.Database(t)
	mustExec(t, admin(t, dsn),
		"create table notes (tenant text not null default current_setting('app.tenant'), title text)",
		"alter table notes enable row level security",
		"create policy own on notes using (tenant = current_setting('app.tenant'))",
		"create role tenants", "grant select, insert on notes to tenants")
	t.Cleanup(func() { mustExec(t, admin(t, dsn), "drop owned by tenants", "drop role tenants") })
	db, _ := open(t, dsn, &gorm.Config{}, byRow{tables: plugin.BySchema()})
	for _, id := range []string{"a", "b"} {
		if err := db.WithContext(as(t, id)).Exec("insert into notes (title) values (?)", "of "+id).Error; err != nil {
			t.Fatal(err)
		}
		var titles []string
		if err := db.WithContext(as(t, id)).Raw("select title from notes").Scan(&titles).Error; err != nil || !slices.Equal(titles, []string{"of " + id}) {
			t.Errorf("%s sees %v, %v", id, titles, err)
		}
	}
	var count int
	if err := db.WithContext(scope.Shared(t.Context())).Raw("select count(*) from notes").Scan(&count).Error; err != nil || count != 2 {
		t.Errorf("the shared scope sees %d, %v", count, err)
	}
}
