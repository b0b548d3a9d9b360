package plugin_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
	"gorm.io/gorm/schema"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

func TestUseRefusesBadArguments(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	tests := []struct {
		name   string
		plugin *plugin.Plugin
		words  []string
	}{
		{"no strategy", plugin.New(nil), []string{"strategy is nil", "BySchema"}},
		{"no connections", plugin.New(plugin.BySchema(), plugin.WithMaxConns(0)), []string{"WithMaxConns", "0"}},
		{"no hook", plugin.New(plugin.BySchema(), plugin.WithPoolConfig(nil)), []string{"WithPoolConfig"}},
		{"a failing hook", plugin.New(plugin.BySchema(), plugin.WithPoolConfig(func(*pgxpool.Config) error { return errors.New("no tracer") })), []string{"no tracer"}},
		{"no name function", plugin.New(plugin.BySchema(plugin.WithSchemaName(nil))), []string{"WithSchemaName"}},
		{"an upper-case shared schema", plugin.New(plugin.BySchema(plugin.WithSharedSchemas("Plans"))), []string{"Plans", "lower case"}},
		{"a shared schema of PostgreSQL's", plugin.New(plugin.BySchema(plugin.WithSharedSchemas("pg_catalog"))), []string{"pg_catalog"}},
		{"a shared scope of nothing", plugin.New(plugin.BySchema(plugin.WithSharedScope())), []string{"WithSharedScope", "no schema"}},
		{"an upper-case shared scope", plugin.New(plugin.BySchema(plugin.WithSharedScope("Plans"))), []string{"WithSharedScope", "Plans"}},
		{"an empty shared schema", plugin.New(plugin.BySchema(plugin.WithSharedSchemas(""))), []string{"empty"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			db := openPlain(t, dsn, nil)
			mustSay(t, db.Use(tt.plugin), tt.words...)
			if err := db.Exec("select 1").Error; err != nil {
				t.Errorf("the database does not work as before: %v", err)
			}
			if pool, err := db.DB(); err != nil || pool.Close() != nil {
				t.Error("can't close the pool")
			}
		})
	}
}

// wrapped is a strategy of a user's own around BySchema.
type wrapped struct{ plugin.Strategy }

func TestAWrongOptionBelowAWrapperFailsEveryStatement(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	mustExec(t, admin(t, dsn), "create schema tenant_a")
	db, _ := open(t, dsn, nil, wrapped{plugin.BySchema(plugin.WithSchemaName(nil))})
	mustSay(t, db.WithContext(as(t, "a")).Exec("select 1").Error, "WithSchemaName")
	mustSay(t, db.WithContext(scope.Shared(t.Context())).Exec("select 1").Error, "WithSchemaName")
}

// otherDialector is a dialector of another database.
type otherDialector struct{ gorm.Dialector }

func (otherDialector) Name() string                    { return "mysql" }
func (otherDialector) Initialize(*gorm.DB) error       { return nil }
func (otherDialector) DataTypeOf(*schema.Field) string { return "" }

func TestUseRefusesAnotherDialect(t *testing.T) {
	t.Parallel()
	db, err := gorm.Open(otherDialector{}, &gorm.Config{Logger: logger.Discard})
	if err != nil {
		t.Fatal(err)
	}
	mustSay(t, db.Use(plugin.New(plugin.BySchema())), "mysql", "PostgreSQL")
}

func TestUseRefusesASecondRegistration(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	db, p := open(t, dsn, nil, plugin.BySchema())
	mustBe(t, db.Use(plugin.New(plugin.BySchema())), gorm.ErrRegistered)

	other := openPlain(t, dsn, nil)
	mustSay(t, other.Use(p), "registered already")
	pool, err := other.DB()
	if err != nil {
		t.Fatal(err)
	}
	if err := pool.Close(); err != nil {
		t.Error(err)
	}

	ours, err := db.DB()
	if err != nil {
		t.Fatal(err)
	}
	onTop, err := gorm.Open(postgres.New(postgres.Config{Conn: ours}), &gorm.Config{Logger: logger.Discard})
	if err != nil {
		t.Fatal(err)
	}
	mustSay(t, onTop.Use(plugin.New(plugin.BySchema())), "stdlib.Conn")
}

func TestUseRefusesASession(t *testing.T) {
	t.Parallel()
	db := openPlain(t, pgtest.Database(t), nil)
	mustSay(t, db.Session(&gorm.Session{}).Use(plugin.New(plugin.BySchema())), "gorm.Open")
	pool, err := db.DB()
	if err != nil {
		t.Fatal(err)
	}
	if err := pool.Close(); err != nil {
		t.Error(err)
	}
}

func TestUseRefusesHooksItCannotTakeOver(t *testing.T) {
	t.Parallel()
	db, err := gorm.Open(postgres.New(postgres.Config{
		DSN:          pgtest.Database(t),
		OptionOpenDB: []stdlib.OptionOpenDB{stdlib.OptionResetSession(func(context.Context, *pgx.Conn) error { return nil })},
	}), &gorm.Config{Logger: logger.Discard})
	if err != nil {
		t.Fatal(err)
	}
	mustSay(t, db.Use(plugin.New(plugin.BySchema())), "OptionOpenDB", "WithPoolConfig")
}

func TestAReadyMadePoolIsNotClosed(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	mustExec(t, admin(t, dsn), "create schema tenant_a")
	lent, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	lent.SetMaxOpenConns(3)
	db, err := gorm.Open(postgres.New(postgres.Config{Conn: lent}), &gorm.Config{Logger: logger.Discard})
	if err != nil {
		t.Fatal(err)
	}
	p := plugin.New(plugin.BySchema())
	if err := db.Use(p); err != nil {
		t.Fatal(err)
	}
	if got := p.Stats().Base.MaxConns(); got != 3 {
		t.Errorf("the base pool has %d connections, want the 3 that SetMaxOpenConns allows", got)
	}
	if err := db.WithContext(as(t, "a")).Exec("create table x (id int)").Error; err != nil {
		t.Error(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := lent.Ping(); err != nil {
		t.Errorf("the lent pool is closed: %v", err)
	}
	if err := lent.Close(); err != nil {
		t.Error(err)
	}
}

func TestSessionsOlderThanThePluginFindTheirPoolClosed(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	db := openPlain(t, dsn, nil)
	old := db.Session(&gorm.Session{PrepareStmt: true})
	if err := old.Exec("select 1").Error; err != nil {
		t.Fatal(err)
	}
	p := plugin.New(plugin.BySchema())
	if err := db.Use(p); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	if err := old.Exec("select 1").Error; err == nil {
		t.Error("an older session still reaches the server without a tenant")
	}
	mustBe(t, db.Session(&gorm.Session{PrepareStmt: true}).Exec("select 1").Error, scope.ErrNone)
}

// TestStatementsPreparedBeforeThePlugin: GORM keeps them by text for all
// sessions, and the pool that was lent stays open.
func TestStatementsPreparedBeforeThePlugin(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	mustExec(t, admin(t, dsn), "create schema tenant_a", "create table tenant_a.x (s text)", "insert into tenant_a.x values ('a')",
		"create table public.x (s text)", "insert into public.x values ('public')")
	for _, always := range []bool{false, true} {
		lent, err := sql.Open("pgx", dsn)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = lent.Close() })
		db, err := gorm.Open(postgres.New(postgres.Config{Conn: lent}), &gorm.Config{Logger: logger.Discard, PrepareStmt: always})
		if err != nil {
			t.Fatal(err)
		}
		const query = "select s from x where s <> ?"
		var s string
		old := db.Session(&gorm.Session{PrepareStmt: true})
		early := old.Raw(query, "").Scan(&s).Error
		p := plugin.New(plugin.BySchema())
		if err := errors.Join(early, db.Use(p)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Close() })
		_ = old.Raw(query, "").Scan(&s).Error // prepares it again, wherever it may go
		prepared := db.Session(&gorm.Session{PrepareStmt: true})
		if err := prepared.WithContext(as(t, "a")).Raw(query, "").Scan(&s).Error; err != nil || s != "a" {
			t.Errorf("PrepareStmt %t: a reads %q, error %v", always, s, err)
		}
		mustBe(t, prepared.WithContext(t.Context()).Raw(query, "").Scan(&s).Error, scope.ErrNone)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	mustExec(t, admin(t, dsn), "create schema tenant_a")
	for name, closeIt := range map[string]func(*gorm.DB, *plugin.Plugin) error{
		"Plugin.Close": func(_ *gorm.DB, p *plugin.Plugin) error { return p.Close() },
		"DB().Close": func(db *gorm.DB, _ *plugin.Plugin) error {
			pool, err := db.DB()
			return errors.Join(err, pool.Close())
		},
	} {
		db := openPlain(t, dsn, nil)
		p := plugin.New(plugin.BySchema())
		if err := db.Use(p); err != nil {
			t.Fatal(err)
		}
		if err := db.WithContext(as(t, "a")).Exec("select 1").Error; err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := closeIt(db, p); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := db.WithContext(as(t, "a")).Exec("select 1").Error; err == nil {
			t.Errorf("%s: statements still run", name)
		}
		if n := p.Stats().Base.TotalConns(); n != 0 {
			t.Errorf("%s: %d connections are left", name, n)
		}
	}
	if err := plugin.New(plugin.BySchema()).Close(); err != nil {
		t.Errorf("closing an unused plugin: %v", err)
	}
}

func TestTheConnectionStringIsTakenOver(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	pool := admin(t, dsn)
	mustExec(t, pool, "create schema tenant_a", "create table tenant_a.times (at timestamp)")
	separator := "?"
	if strings.Contains(dsn, "?") {
		separator = "&"
	}
	db, _ := open(t, dsn+separator+"timezone=Asia/Tokyo&application_name=taken_over", nil, plugin.BySchema())
	db = db.WithContext(as(t, "a"))
	var zone, app string
	if err := db.Raw("select current_setting('timezone'), current_setting('application_name')").Row().Scan(&zone, &app); err != nil || zone != "Asia/Tokyo" || app != "taken_over" {
		t.Errorf("timezone %q, application_name %q, error %v", zone, app, err)
	}
	tokyo, err := time.LoadLocation("Asia/Tokyo")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, tokyo)
	if err := db.Exec("insert into times values (?)", at).Error; err != nil {
		t.Fatal(err)
	}
	var got time.Time
	if err := db.Raw("select at from times").Scan(&got).Error; err != nil || !got.Equal(at) {
		t.Errorf("read %v and %v, want %v", got, err, at)
	}
}

// tracer is a pgx tracer that remembers the statements.
type tracer struct{ seen chan string }

func (t tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	select {
	case t.seen <- data.SQL:
	default:
	}
	return ctx
}

func (tracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func TestATracerSeesTheStatements(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	mustExec(t, admin(t, dsn), "create schema tenant_a")
	tr := tracer{seen: make(chan string, 10)}
	db, _ := open(t, dsn, nil, plugin.BySchema(), plugin.WithPoolConfig(func(c *pgxpool.Config) error {
		c.ConnConfig.Tracer = tr
		return nil
	}))
	var n int
	if err := db.WithContext(as(t, "a")).Raw("select 42").Scan(&n).Error; err != nil || n != 42 {
		t.Fatal(n, err)
	}
	if got := <-tr.seen; got != "select 42" {
		t.Errorf("the tracer saw %q first, want the statement alone", got)
	}
}
