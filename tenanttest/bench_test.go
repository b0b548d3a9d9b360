package tenanttest_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
	"github.com/tenantry/tenantry/tenanttest"
)

// tableSQL makes one of many tables with an index and a reference; the first has a seed row.
func tableSQL(n int) []string {
	sql := []string{
		fmt.Sprintf("create table t%d (id bigserial primary key, title text not null, at timestamptz default now(), parent bigint)", n),
		fmt.Sprintf("create index on t%d (title)", n)}
	if n == 0 {
		return append(sql, "insert into t0 (title) values ('seed')")
	}
	return append(sql, fmt.Sprintf("alter table t%d add foreign key (parent) references t%d", n, n/3))
}

// BenchmarkTenant gives a test a tenant with 10 and with 50 tables, writes to three of
// them, and ends the test: by this package; by a schema for each test that is dropped
// with it, made by the migrations or by their SQL in one message.
func BenchmarkTenant(b *testing.B) {
	for _, n := range []int{10, 50} {
		var all []string
		var list migrator.Migrations
		for i := range n {
			all = append(all, tableSQL(i)...)
			list = append(list, script(fmt.Sprintf("%04d", i), tableSQL(i)...))
		}
		dsn := pgtest.Database(b)
		db := open(b, dsn, plugin.BySchema())
		f, err := tenanttest.New(db, list)
		if err != nil {
			b.Fatal(err)
		}
		write := func(ctx context.Context) {
			for i := n - 3; i < n; i++ {
				mustExec(b, db.WithContext(ctx), fmt.Sprintf("insert into t%d (title) values ('x')", i))
			}
		}
		b.Run(fmt.Sprintf("tables=%d/tenanttest", n), func(b *testing.B) {
			for b.Loop() {
				test := begin(b)
				write(f.Tenant(test))
				test.end()
			}
		})
		conn, err := pgx.Connect(b.Context(), dsn)
		if err != nil {
			b.Fatal(err)
		}
		each := func(name string, provide func(ctx context.Context, schema string)) {
			b.Run(fmt.Sprintf("tables=%d/%s", n, name), func(b *testing.B) {
				tenant, err := scope.Parse("bench")
				if err != nil {
					b.Fatal(err)
				}
				ctx := scope.With(b.Context(), tenant)
				for b.Loop() {
					provide(ctx, "tenant_bench")
					write(ctx)
					execute(b, conn, "drop schema tenant_bench cascade")
				}
			})
		}
		each("migrations", func(ctx context.Context, schema string) {
			execute(b, conn, "create schema "+schema)
			if err := list.Apply(ctx, migrator.NewPlace{DB: db}); err != nil {
				b.Fatal(err)
			}
		})
		each("replay", func(_ context.Context, schema string) {
			execute(b, conn, fmt.Sprintf("begin; create schema %[1]s; set local search_path = %[1]s; %[2]s; commit", schema, strings.Join(all, "; ")))
		})
		if err := conn.Close(b.Context()); err != nil {
			b.Error(err)
		}
		if err := f.Close(); err != nil {
			b.Error(err)
		}
	}
}

func execute(b *testing.B, conn *pgx.Conn, sql string) {
	b.Helper()
	if _, err := conn.Exec(b.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		b.Fatal(err)
	}
}
