// Package traces shows the tenant on the spans of GORM's own tracing plugin and of otelpgx.
// It is a module of its own because that plugin brings drivers of other databases.
package traces

import (
	"slices"
	"strings"
	"testing"

	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
	gormtracing "gorm.io/plugin/opentelemetry/tracing"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
	"github.com/tenantry/tenantry/tracing"
)

// openTraced opens GORM with its tracing plugin, and pgx with otelpgx.
func openTraced(dsn string, provider *trace.TracerProvider) (*gorm.DB, error) {
	db, err := gorm.Open(postgres.Open(dsn), &gorm.Config{Logger: logger.Discard})
	if err != nil {
		return nil, err
	}
	withTracer := plugin.WithPoolConfig(func(cfg *pgxpool.Config) error {
		cfg.ConnConfig.Tracer = otelpgx.NewTracer(otelpgx.WithTracerProvider(provider))
		return nil
	})
	if err := db.Use(plugin.New(plugin.BySchema(), withTracer)); err != nil {
		return nil, err
	}
	return db, db.Use(gormtracing.NewPlugin(gormtracing.WithTracerProvider(provider), gormtracing.WithoutMetrics()))
}

func TestSpansOfGORMAndPgxHaveTheTenant(t *testing.T) {
	t.Parallel()
	recorder := tracetest.NewSpanRecorder()
	provider := trace.NewTracerProvider(trace.WithSpanProcessor(tracing.NewSpanProcessor()), trace.WithSpanProcessor(recorder))
	db, err := openTraced(pgtest.Database(t), provider)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if pool, err := db.DB(); err != nil || pool.Close() != nil {
			t.Error("can't close the pool")
		}
	})
	shared := scope.Shared(t.Context())
	for _, sql := range []string{"create schema tenant_acme", "create table tenant_acme.notes (id int)"} {
		if err := db.WithContext(shared).Exec(sql).Error; err != nil {
			t.Fatal(err)
		}
	}
	acme, err := scope.Parse("acme")
	if err != nil {
		t.Fatal(err)
	}
	ctx, request := provider.Tracer("test").Start(scope.With(t.Context(), acme), "request") // otelpgx wants a parent
	var n int
	if err := db.WithContext(ctx).Raw("select count(*) from notes").Scan(&n).Error; err != nil {
		t.Fatal(err)
	}
	if err := db.WithContext(ctx).Transaction(func(tx *gorm.DB) error { return tx.Exec("insert into notes values (?)", 7).Error }); err != nil {
		t.Fatal(err)
	}
	request.End()

	seen := map[string][]string{}
	for _, s := range recorder.Ended() {
		tenant, text := "", s.Name()
		for _, a := range s.Attributes() {
			switch {
			case a.Key == tracing.Key:
				tenant = a.Value.AsString()
			case strings.HasPrefix(string(a.Key), "db.") && strings.Contains(string(a.Key), "query") || a.Key == "db.statement":
				text += " " + a.Value.AsString()
			}
		}
		seen[tenant] = append(seen[tenant], s.InstrumentationScope().Name+": "+text)
	}
	for _, want := range []string{"select count(*) from notes", "insert into notes", "begin", "commit"} {
		for _, library := range []string{"gorm", "otelpgx"} {
			if library == "gorm" && len(want) < 10 {
				continue // it has no callback for begin and commit
			}
			ok := slices.ContainsFunc(seen["acme"], func(s string) bool {
				return strings.Contains(s, library) && strings.Contains(strings.ToLower(s), want)
			})
			if !ok {
				t.Errorf("%s has no span of acme with %q: %q", library, want, seen["acme"])
			}
		}
	}
	for _, s := range seen[""] {
		if strings.Contains(s, "notes") && !strings.Contains(s, "create table") {
			t.Errorf("the tenant is missing in %s", s)
		}
	}
	if !slices.ContainsFunc(seen[""], func(s string) bool { return strings.Contains(s, "create schema") }) {
		t.Errorf("nothing of the shared scope was seen: %q", seen)
	}
}
