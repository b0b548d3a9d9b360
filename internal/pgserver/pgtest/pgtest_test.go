package pgtest_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/internal/pgserver"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
)

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func ask[T any](t *testing.T, conn *pgx.Conn, sql string, args ...any) T {
	t.Helper()
	var answer T
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

func TestAllTestsShareOneServer(t *testing.T) {
	t.Parallel()
	if first, second := pgtest.DSN(t), pgtest.DSN(t); first != second {
		t.Error("two servers")
	}
}

func TestEachDatabaseIsNewAndGoesWithItsTest(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for range 2 {
		t.Run("one", func(t *testing.T) {
			conn := connect(t, pgtest.Database(t)) // left open: the drop must not mind
			names[ask[string](t, conn, "select current_database()")] = true
			if n := ask[int](t, conn, "select count(*) from pg_class where relnamespace = 'public'::regnamespace"); n != 0 {
				t.Errorf("it has %d relations", n)
			}
		})
	}
	if len(names) != 2 {
		t.Errorf("got %v, want two databases", names)
	}
	server := connect(t, pgtest.DSN(t))
	defer server.Close(t.Context())
	for name := range names {
		if ask[bool](t, server, "select exists (select from pg_database where datname = $1)", name) {
			t.Errorf("database %s is still there", name)
		}
	}
}

func TestServerOfOneTest(t *testing.T) {
	t.Setenv(pgserver.EnvDSN, "")
	s := pgtest.Server(t, pgserver.WithSetting("max_connections", "11"))
	conn := connect(t, pgtest.DatabaseOn(t, s.DSN()))
	if got := ask[string](t, conn, "show max_connections"); got != "11" {
		t.Errorf("got max_connections %s", got)
	}
}
