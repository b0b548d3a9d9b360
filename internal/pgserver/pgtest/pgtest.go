// Package pgtest gives tests a PostgreSQL server and databases of their own.
//
//	func TestInvoices(t *testing.T) {
//		db, err := gorm.Open(postgres.Open(pgtest.Database(t)))
//		...
//	}
//
// One server serves all tests of a process. It starts with the first test that
// asks, and ends with the process (see pgserver). Where no server can be had,
// the test fails and says what to install or to set; it is never skipped.
package pgtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/internal/pgserver"
	"github.com/tenantry/tenantry/internal/pgserver/dsn"
)

// limit is how long creating or dropping a database may take.
const limit = time.Minute

// shared starts the process's server once. It is a package variable because the
// testing package has no place of its own for what all tests of a process share. It is
// never assigned again. No test's context fits: the server outlives each test.
var shared = sync.OnceValues(func() (*pgserver.Server, error) {
	return pgserver.Start(context.Background(),
		pgserver.WithSetting("max_connections", "300"), // tests run in parallel
		pgserver.WithLog(func(line string) { fmt.Fprintln(os.Stderr, "pgtest:", line) }))
})

// DSN returns the connection string of the shared server: a superuser's, for the
// database postgres, or what TENANTRY_TEST_DSN says. Tests share what they
// change there; see [Database].
func DSN(t testing.TB) string {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return s.DSN()
}

// Server starts a server for this test alone, for tests that need settings of their
// own or that stop the server. It ends with the test.
func Server(t testing.TB, opts ...pgserver.Option) *pgserver.Server {
	t.Helper()
	s, err := pgserver.Start(t.Context(), append([]pgserver.Option{pgserver.WithLog(func(line string) { t.Log(line) })}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Database returns the connection string of a new, empty database on the shared
// server. It is dropped when the test ends, whoever is still connected (this
// takes PostgreSQL 13 or later).
func Database(t testing.TB) string {
	t.Helper()
	return DatabaseOn(t, DSN(t))
}

// DatabaseOn is [Database] on the server that server, a connection string, names.
// Its user must be allowed to create databases.
func DatabaseOn(t testing.TB, server string) string {
	t.Helper()
	name := "test_" + strings.ToLower(rand.Text())
	quoted := pgx.Identifier{name}.Sanitize()
	// template0: nobody is ever connected to it, which would be an error.
	if err := execute(server, "create database "+quoted+" template template0"); err != nil {
		t.Fatalf("pgtest: create database: %v", err)
	}
	t.Cleanup(func() {
		if err := execute(server, "drop database if exists "+quoted+" with (force)"); err != nil {
			t.Errorf("pgtest: drop database: %v", err)
		}
	})
	database, err := dsn.WithDatabase(server, name)
	if err != nil {
		t.Fatal(err)
	}
	return database
}

// execute runs one statement on a connection of its own. A test's context has
// ended when its database is dropped.
func execute(server, sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		_ = conn.Close(ctx)
		return fmt.Errorf("%s: %w", strings.Fields(sql)[0], err)
	}
	return conn.Close(ctx)
}
