package pgcatalog_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// recorder is a logger that keeps what has been changed, and the errors.
type recorder struct {
	reads atomic.Int64

	mu  sync.Mutex // guards log
	log []string
}

func (r *recorder) LogMode(logger.LogLevel) logger.Interface { return r }
func (r *recorder) Info(context.Context, string, ...any)     {}
func (r *recorder) Warn(context.Context, string, ...any)     {}
func (r *recorder) Error(context.Context, string, ...any)    {}

func (r *recorder) Trace(_ context.Context, _ time.Time, statement func() (string, int64), err error) {
	sql, _ := statement()
	if strings.HasPrefix(strings.TrimSpace(sql), "SELECT") && err == nil {
		r.reads.Add(1)
		return
	}
	line := strings.ReplaceAll(sql, `"`, "") // the driver quotes some names only
	if err != nil {
		line += " -- " + err.Error()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, line)
}

// take returns what has been recorded since the last call.
func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	log := r.log
	r.log = nil
	return log
}

// side is a database whose default schema is tenant_a.
type side struct {
	db       *gorm.DB
	recorded *recorder
	pool     *pgxpool.Pool // past GORM
}

// connect opens dsn past GORM, with schema as the default if it names one.
func connect(t testing.TB, dsn, schema string) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	if schema != "" {
		config.ConnConfig.RuntimeParams["search_path"] = schema
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
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

func ask[T any](t testing.TB, pool *pgxpool.Pool, sql string, args ...any) T {
	t.Helper()
	rows, err := pool.Query(context.Background(), sql, args...)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return answer
}

// openDriver opens dsn without the plugin, with schema as its default.
func openDriver(t testing.TB, dsn, schema string, log logger.Interface) *gorm.DB {
	t.Helper()
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	config.RuntimeParams["search_path"] = schema
	pool := stdlib.OpenDB(*config)
	t.Cleanup(func() {
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	})
	db, err := gorm.Open(postgres.New(postgres.Config{Conn: pool}), &gorm.Config{Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// openOurs opens dsn with the plugin.
func openOurs(t testing.TB, dsn string, cfg *gorm.Config, opts ...plugin.SchemaOption) *gorm.DB {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = logger.Discard
	}
	db, err := gorm.Open(postgres.Open(dsn), cfg)
	if err != nil {
		t.Fatal(err)
	}
	p := plugin.New(plugin.BySchema(opts...))
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

func as(t testing.TB, id string) context.Context {
	t.Helper()
	tenant, err := scope.Parse(id)
	if err != nil {
		t.Fatal(err)
	}
	return scope.With(context.Background(), tenant)
}

// bothSides returns the driver's migrator and ours, on databases that are alike.
func bothSides(t testing.TB, statements ...string) (driver, ours side) {
	t.Helper()
	statements = append([]string{"create schema tenant_a", "create schema other", "set search_path = tenant_a"}, statements...)
	setup := strings.Join(statements, "; ")
	dsn := pgtest.Database(t)
	driver.pool, driver.recorded = connect(t, dsn, "tenant_a"), &recorder{}
	mustExec(t, driver.pool, setup)
	driver.db = openDriver(t, dsn, "tenant_a", driver.recorded)

	dsn = pgtest.Database(t)
	ours.pool, ours.recorded = connect(t, dsn, "tenant_a"), &recorder{}
	mustExec(t, ours.pool, setup)
	ours.db = openOurs(t, dsn, &gorm.Config{Logger: ours.recorded}).WithContext(as(t, "a"))
	return driver, ours
}

// mustMatch compares what the two sides answer, in any order.
func mustMatch(t testing.TB, what string, driver, ours []string) {
	t.Helper()
	driver, ours = slices.Sorted(slices.Values(driver)), slices.Sorted(slices.Values(ours))
	for _, line := range missingIn(ours, driver) {
		t.Errorf("%s: only the driver has %s", what, line)
	}
	for _, line := range missingIn(driver, ours) {
		t.Errorf("%s: only we have    %s", what, line)
	}
}

// missingIn returns what the sorted lines have and others have not, as often as
// they have it more often.
func missingIn(others, lines []string) (missing []string) {
	rest := slices.Clone(others)
	for _, line := range lines {
		if i := slices.Index(rest, line); i >= 0 {
			rest = slices.Delete(rest, i, i+1)
			continue
		}
		missing = append(missing, line)
	}
	return missing
}

// tablesOf is all that AutoMigrate can have made, past GORM.
const tablesOf = `
select format('%s.%s.%s %s null=%s default=%s identity=%s generated=%s: %s', c.relnamespace::regnamespace, c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
	not a.attnotnull, pg_get_expr(d.adbin, d.adrelid), a.attidentity, a.attgenerated, col_description(c.oid, a.attnum))
from pg_class c join pg_attribute a on a.attrelid = c.oid left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
where c.relnamespace in ('tenant_a'::regnamespace, 'other'::regnamespace) and a.attnum > 0 and not a.attisdropped and c.relkind in ('r', 'p', 'v', 'm')
union all
select format('%s: %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) from pg_constraint where connamespace in ('tenant_a'::regnamespace, 'other'::regnamespace)
union all
select indexdef from pg_indexes where schemaname in ('tenant_a', 'other')
union all
select format('%s.%s %s owned by %s.%s', s.schemaname, s.sequencename, s.data_type, d.refobjid::regclass, d.refobjsubid)
from pg_sequences s join pg_class c on c.relname = s.sequencename and c.relnamespace = s.schemaname::regnamespace
left join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = c.oid and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i')`

func (s side) tables(t testing.TB) []string {
	t.Helper()
	rows, err := s.pool.Query(context.Background(), tablesOf)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return lines
}
