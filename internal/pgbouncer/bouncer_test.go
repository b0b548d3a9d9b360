//go:build integration

package pgbouncer_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tenantry/tenantry/internal/pgbouncer"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
)

// connect uses no named statements, which PgBouncer before 1.21 does not carry
// from one transaction to the next.
func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func ask[T any](t *testing.T, conn *pgx.Conn, sql string) T {
	t.Helper()
	var answer T
	if err := conn.QueryRow(t.Context(), sql).Scan(&answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

func TestClientsShareAPoolOfOne(t *testing.T) {
	t.Parallel()
	database := pgtest.Database(t)
	bouncer := pgbouncer.Start(t, pgbouncer.Config{Target: database, PoolSize: 1})
	var clients [2]*pgx.Conn
	for i := range clients {
		clients[i] = connect(t, bouncer.DSN(database))
		defer clients[i].Close(t.Context())
	}
	pids := map[int]bool{}
	for range 3 {
		for _, client := range clients {
			pids[ask[int](t, client, "select pg_backend_pid()")] = true
		}
	}
	if len(pids) != 1 {
		t.Errorf("got server processes %v, want one", pids)
	}
}

func TestPoolSizeIsKept(t *testing.T) {
	t.Parallel()
	database := pgtest.Database(t)
	bouncer := pgbouncer.Start(t, pgbouncer.Config{Target: database, PoolSize: 2})
	pids := map[int]bool{}
	for range 2 {
		client := connect(t, bouncer.DSN(database))
		defer client.Close(t.Context())
		tx, err := client.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tx.Rollback(t.Context()) }() // where the test has failed before
		pids[ask[int](t, tx.Conn(), "select pg_backend_pid()")] = true
	}
	if len(pids) != 2 {
		t.Errorf("got server processes %v, want two", pids)
	}
}

func TestSearchPathIsRefusedAtStartUp(t *testing.T) {
	t.Parallel()
	database := pgtest.Database(t)
	bouncer := pgbouncer.Start(t, pgbouncer.Config{Target: database})
	config, err := pgx.ParseConfig(bouncer.DSN(database))
	if err != nil {
		t.Fatal(err)
	}
	config.RuntimeParams["search_path"] = "public"
	_, err = pgx.ConnectConfig(t.Context(), config)
	if pgErr := (*pgconn.PgError)(nil); !errors.As(err, &pgErr) || !strings.Contains(pgErr.Message, "search_path") {
		t.Errorf("got %v, want the parameter to be refused", err)
	}
}

func TestFurtherUsersLogInWithTheirPasswords(t *testing.T) {
	t.Parallel()
	database := pgtest.Database(t)
	admin := connect(t, database)
	defer admin.Close(t.Context())
	role := "role_" + ask[string](t, admin, "select substr(md5(random()::text), 1, 12)")
	if _, err := admin.Exec(t.Context(), "create role "+role+" login password 'it''s \"secret\"'"); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if _, err := admin.Exec(t.Context(), "drop role "+role); err != nil {
			t.Error(err)
		}
	}()
	bouncer := pgbouncer.Start(t, pgbouncer.Config{Target: database, Users: map[string]string{role: `it's "secret"`}})
	config, err := pgx.ParseConfig(bouncer.DSN(database))
	if err != nil {
		t.Fatal(err)
	}
	config.User, config.Password, config.DefaultQueryExecMode = role, `it's "secret"`, pgx.QueryExecModeExec
	client, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close(t.Context())
	if got := ask[string](t, client, "select current_user"); got != role {
		t.Errorf("got user %s", got)
	}
}

func TestExtraLinesCount(t *testing.T) {
	t.Parallel()
	database := pgtest.Database(t)
	bouncer := pgbouncer.Start(t, pgbouncer.Config{Target: database, PoolSize: 1, Extra: []string{"pool_mode = session"}})
	client := connect(t, bouncer.DSN(database))
	defer client.Close(t.Context())
	if _, err := client.Exec(t.Context(), "set tenantry.note = 'kept'"); err != nil {
		t.Fatal(err)
	}
	if got := ask[string](t, client, "select current_setting('tenantry.note')"); got != "kept" {
		t.Errorf("got %q", got)
	}
}

func TestItIsStartedAgainWhereItEndsByItself(t *testing.T) {
	t.Parallel()
	database := pgtest.Database(t)
	config, err := pgx.ParseConfig(database)
	if err != nil {
		t.Fatal(err)
	}
	bouncer := pgbouncer.Start(t, pgbouncer.Config{Target: database, Extra: []string{"admin_users = " + config.User}})
	if got := bouncer.Restarts(); got != 0 {
		t.Fatalf("%d restarts before it has ended", got)
	}
	config, err = pgx.ParseConfig(bouncer.DSN(database))
	if err != nil {
		t.Fatal(err)
	}
	config.Database, config.DefaultQueryExecMode = "pgbouncer", pgx.QueryExecModeSimpleProtocol
	console, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := console.Exec(t.Context(), "shutdown"); err == nil {
		t.Error("it has lived on")
	}
	for limit := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		client, err := pgx.Connect(t.Context(), bouncer.DSN(database))
		if err == nil {
			defer client.Close(t.Context())
			break
		}
		if time.Now().After(limit) {
			t.Fatal(err)
		}
	}
	if got := bouncer.Restarts(); got != 1 {
		t.Errorf("%d restarts, want 1", got)
	}
}
