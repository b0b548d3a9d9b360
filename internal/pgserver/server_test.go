package pgserver_test

import (
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tenantry/tenantry/internal/pgserver"
	"github.com/tenantry/tenantry/internal/pgserver/dsn"
)

// ownServer starts a server of our own, whatever the environment names.
func ownServer(t *testing.T, opts ...pgserver.Option) *pgserver.Server {
	t.Helper()
	t.Setenv(pgserver.EnvDSN, "")
	s, err := pgserver.Start(t.Context(), opts...)
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

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	return conn
}

func show(t *testing.T, conn *pgx.Conn, setting string) string {
	t.Helper()
	var value string
	if err := conn.QueryRow(t.Context(), "select current_setting($1)", setting).Scan(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

func TestServerHasItsSettings(t *testing.T) {
	var steps []string
	s := ownServer(t,
		pgserver.WithSetting("max_connections", "17"),
		pgserver.WithSetting("max_locks_per_transaction", "222"),
		pgserver.WithSetting("tenantry.note", "it's set"),
		pgserver.WithLog(func(line string) { steps = append(steps, line) }),
	)
	conn := connect(t, s.DSN())
	for setting, want := range map[string]string{
		"max_connections":           "17",
		"max_locks_per_transaction": "222",
		"tenantry.note":             "it's set",
		"fsync":                     "off",
		"synchronous_commit":        "off",
		"full_page_writes":          "off",
		"listen_addresses":          "127.0.0.1",
		"unix_socket_directories":   "",
		"server_encoding":           "UTF8",
		"is_superuser":              "on",
	} {
		if got := show(t, conn, setting); got != want {
			t.Errorf("%s is %q, want %q", setting, got, want)
		}
	}
	if all := strings.Join(steps, "\n"); !strings.Contains(all, "starting PostgreSQL ") {
		t.Errorf("the log does not tell the start: %q", all)
	}
}

func TestServerWantsItsPassword(t *testing.T) {
	s := ownServer(t)
	u, err := url.Parse(s.DSN())
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(u.User.Username(), "wrong")
	_, err = pgx.Connect(t.Context(), u.String())
	if pgErr := (*pgconn.PgError)(nil); !errors.As(err, &pgErr) || pgErr.Code != "28P01" {
		t.Errorf("got %v, want 28P01", err)
	}
}

// The client that stays connected would keep a server that was only asked by
// TERM, which is its smart shutdown.
func TestStopEndsTheServerAndRemovesItsData(t *testing.T) {
	s := ownServer(t)
	dir := show(t, connect(t, s.DSN()), "data_directory")
	if _, err := os.Stat(filepath.Join(filepath.Dir(dir), "password")); !os.IsNotExist(err) {
		t.Errorf("the password file is still there: %v", err)
	}
	for range 2 {
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Dir(dir)); !os.IsNotExist(err) {
		t.Errorf("the directory is still there: %v", err)
	}
	if !refuses(address(t, s)) {
		t.Error("the port still answers")
	}
}

func TestServersStartAtTheSameTime(t *testing.T) {
	t.Setenv(pgserver.EnvDSN, "")
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			s, err := pgserver.Start(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			if err := s.Stop(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestPortOfAnotherProcessIsTold(t *testing.T) {
	t.Setenv(pgserver.EnvDSN, "")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go refuseAll(l)
	s, err := pgserver.TryPort(t.Context(), l.Addr().String())
	if !errors.Is(err, pgserver.ErrPortTaken) {
		t.Errorf("got %v, want ErrPortTaken", err)
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
}

func refuseAll(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		_ = conn.Close()
	}
}

func TestServerThatDoesNotStartSaysWhy(t *testing.T) {
	t.Setenv(pgserver.EnvDSN, "")
	_, err := pgserver.Start(t.Context(), pgserver.WithSetting("max_connections", "many"))
	if err == nil || !strings.Contains(err.Error(), `invalid value for parameter "max_connections"`) {
		t.Errorf("got %v, want the server's own words", err)
	}
}

func TestNamedServerIsUsedAsItIs(t *testing.T) {
	running := ownServer(t)
	for name, named := range map[string]string{
		"url":      running.DSN(),
		"keywords": keywords(t, running.DSN()),
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(pgserver.EnvDSN, named)
			t.Setenv(pgserver.EnvBin, "/not/looked/at")
			s, err := pgserver.Start(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if s.DSN() != named {
				t.Errorf("got another connection string than the one that was set")
			}
			if err := s.Stop(); err != nil {
				t.Error(err)
			}
			connect(t, running.DSN())
		})
	}
}

func keywords(t *testing.T, s string) string {
	t.Helper()
	c, err := dsn.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	out, err := dsn.WithAddress("sslmode=disable dbname=postgres user="+c.User+" password="+c.Password, address(t, s))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestEnvironmentThatDoesNotWorkIsAnErrorAtOnce(t *testing.T) {
	closed := closedAddress(t)
	for name, test := range map[string]struct{ variable, value string }{
		"no server there":         {pgserver.EnvDSN, "postgres://ann:hunter2@" + closed + "/one"},
		"not a connection string": {pgserver.EnvDSN, "postgres://ann:hunter2@nowhere:port/one"},
		"no programs there":       {pgserver.EnvBin, "/does/not/exist"},
		"programs that fail":      {pgserver.EnvBin, brokenPrograms(t)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(pgserver.EnvDSN, "")
			t.Setenv(test.variable, test.value)
			_, err := pgserver.Start(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.variable) {
				t.Errorf("got %v, want an error that names %s", err, test.variable)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}

func closedAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func brokenPrograms(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"initdb", "postgres"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestOneErrorTellsWhatToDoAndWhatWasTried(t *testing.T) {
	broken := errors.New("broken")
	err := pgserver.Find(t.Context(), ways("on PATH", errors.New("not found"), "download", broken))
	if !errors.Is(err, broken) {
		t.Errorf("got %v, want the reasons in it", err)
	}
	for _, want := range []string{"apt-get install postgresql", pgserver.EnvBin, pgserver.EnvDSN, "on PATH: not found", "download: broken"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not contain %q: %v", want, err)
		}
	}
}

func TestNewestVersionComesFirst(t *testing.T) {
	got := pgserver.NewestFirst([]string{"/usr/lib/postgresql/9.6/bin", "/usr/lib/postgresql/15/bin", "/usr/lib/postgresql/18/bin"})
	if got[0] != "/usr/lib/postgresql/18/bin" || got[1] != "/usr/lib/postgresql/15/bin" {
		t.Errorf("got %v", got)
	}
}

func TestBadOptionsAreErrors(t *testing.T) {
	for name, option := range map[string]pgserver.Option{
		"a setting that is none":     pgserver.WithSetting("fsync=on -c port", "1"),
		"a setting of our own":       pgserver.WithSetting("port", "5432"),
		"no log function":            pgserver.WithLog(nil),
		"an empty name of a setting": pgserver.WithSetting("", "x"),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := pgserver.Start(t.Context(), option); err == nil {
				t.Error("no error")
			}
		})
	}
}
