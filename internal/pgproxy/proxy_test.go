package pgproxy_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/internal/pgproxy"
	"github.com/tenantry/tenantry/internal/pgserver/dsn"
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

func exec(t *testing.T, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

func TestEachSimpleQueryIsOneRoundTrip(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]pgproxy.Option{
		"at once": nil,
		"delayed": {pgproxy.WithDelay(2 * time.Millisecond)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxy := pgproxy.Start(t, pgtest.DSN(t), options...)
			conn := connect(t, proxy.DSN(pgtest.DSN(t)))
			defer conn.Close(t.Context())
			for range 20 {
				exec(t, conn, "select 1", pgx.QueryExecModeSimpleProtocol)
			}
			if n := proxy.RoundTrips(); n != 20 {
				t.Errorf("got %d round trips, want 20", n)
			}
		})
	}
}

func TestStartOfAConnectionDoesNotCount(t *testing.T) {
	t.Parallel()
	for name, mode := range map[string]string{"plain": "disable", "encryption refused": "prefer"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxy := pgproxy.Start(t, pgtest.DSN(t))
			s := strings.Replace(proxy.DSN(pgtest.DSN(t)), "sslmode=disable", "sslmode="+mode, 1)
			conn := connect(t, s)
			defer conn.Close(t.Context())
			if n := proxy.RoundTrips(); n != 0 {
				t.Errorf("got %d round trips", n)
			}
			if proxy.Connections() == 0 || proxy.BytesToServer() == 0 || proxy.BytesToClient() == 0 {
				t.Errorf("got %d connections, %d and %d bytes", proxy.Connections(), proxy.BytesToServer(), proxy.BytesToClient())
			}
		})
	}
}

func TestPreparingCostsARoundTripOfItsOwn(t *testing.T) {
	t.Parallel()
	proxy := pgproxy.Start(t, pgtest.DSN(t))
	conn := connect(t, proxy.DSN(pgtest.DSN(t)))
	defer conn.Close(t.Context())
	for range 3 {
		exec(t, conn, "select $1::int", 1)
	}
	if n := proxy.RoundTrips(); n != 4 {
		t.Errorf("got %d round trips, want 1 to prepare and 3 to execute", n)
	}
}

func TestLongMessagesAreOneRoundTrip(t *testing.T) {
	t.Parallel()
	const size = 8 << 20
	proxy := pgproxy.Start(t, pgtest.DSN(t))
	conn := connect(t, proxy.DSN(pgtest.DSN(t)))
	defer conn.Close(t.Context())
	before := proxy.BytesToServer()
	var got int
	err := conn.QueryRow(t.Context(), "select length($1::text)", pgx.QueryExecModeExec, strings.Repeat("x", size)).Scan(&got)
	if err != nil || got != size {
		t.Fatalf("got %d, %v", got, err)
	}
	if n := proxy.RoundTrips(); n != 1 {
		t.Errorf("got %d round trips, want 1", n)
	}
	if n := proxy.BytesToServer() - before; n < size {
		t.Errorf("got %d bytes, want at least %d", n, size)
	}
}

func TestLongAnswersArriveWhole(t *testing.T) {
	t.Parallel()
	const size = 8 << 20
	proxy := pgproxy.Start(t, pgtest.DSN(t), pgproxy.WithDelay(time.Millisecond))
	conn := connect(t, proxy.DSN(pgtest.DSN(t)))
	defer conn.Close(t.Context())
	var got string
	if err := conn.QueryRow(t.Context(), "select repeat('x', $1)", pgx.QueryExecModeExec, size).Scan(&got); err != nil {
		t.Fatal(err)
	}
	if len(got) != size || proxy.RoundTrips() != 1 {
		t.Errorf("got %d bytes in %d round trips", len(got), proxy.RoundTrips())
	}
}

func TestDelayCountsOncePerDirection(t *testing.T) {
	t.Parallel()
	const delay = 50 * time.Millisecond
	proxy := pgproxy.Start(t, pgtest.DSN(t), pgproxy.WithDelay(delay))
	conn := connect(t, proxy.DSN(pgtest.DSN(t)))
	defer conn.Close(t.Context())
	start := time.Now()
	exec(t, conn, "select 1", pgx.QueryExecModeSimpleProtocol)
	if took := time.Since(start); took < 2*delay {
		t.Errorf("it took %s, want at least %s", took, 2*delay)
	}
}

func TestAShortDelayIsNotRoundedUp(t *testing.T) {
	t.Parallel()
	const delay = 100 * time.Microsecond
	proxy := pgproxy.Start(t, pgtest.DSN(t), pgproxy.WithDelay(delay))
	conn := connect(t, proxy.DSN(pgtest.DSN(t)))
	defer conn.Close(t.Context())
	shortest := time.Hour // a busy machine makes all others longer
	for range 200 {
		start := time.Now()
		exec(t, conn, "select 1", pgx.QueryExecModeSimpleProtocol)
		shortest = min(shortest, time.Since(start))
	}
	if shortest < 2*delay || shortest > 10*delay {
		t.Errorf("the fastest of all took %s", shortest)
	}
}

func TestAProgramsProxyEndsWithClose(t *testing.T) {
	t.Parallel()
	proxy, err := pgproxy.Open(pgtest.DSN(t))
	if err != nil {
		t.Fatal(err)
	}
	direct, err := dsn.WithAddress(pgtest.DSN(t), proxy.Addr())
	if err != nil {
		t.Fatal(err)
	}
	conn := connect(t, direct)
	exec(t, conn, "select 1")
	proxy.Close()
	proxy.Close()
	if _, err := conn.Exec(t.Context(), "select 1"); err == nil {
		t.Error("the connection outlives its proxy")
	}
}

func TestDelayDoesNotSerialise(t *testing.T) {
	t.Parallel()
	const chunks, delay = 100, 100 * time.Millisecond
	proxy := pgproxy.Start(t, sink(t), pgproxy.WithDelay(delay))
	conn, err := net.Dial("tcp", proxy.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	start := time.Now()
	for sent := range chunks {
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		waitForBytes(t, proxy, int64(sent+1)) // so that each is a chunk of its own
	}
	_ = conn.(*net.TCPConn).CloseWrite()
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the sink answers")
	}
	if took := time.Since(start); took > chunks*delay/2 {
		t.Errorf("it took %s: chunks wait for each other", took)
	}
}

// sink is a server that reads to the end and then closes. It returns its address.
func sink(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		buf := make([]byte, 1024)
		for err == nil {
			_, err = conn.Read(buf)
		}
	}()
	return l.Addr().String()
}

func waitForBytes(t *testing.T, proxy *pgproxy.Proxy, n int64) {
	t.Helper()
	retry := time.NewTicker(50 * time.Microsecond)
	defer retry.Stop()
	for proxy.BytesToServer() < n {
		select {
		case <-retry.C:
		case <-t.Context().Done():
			t.Fatal("the bytes do not arrive")
		}
	}
}

func TestConnectionsAreCutWithTheTest(t *testing.T) {
	t.Parallel()
	var conn *pgx.Conn
	t.Run("proxy", func(t *testing.T) {
		proxy := pgproxy.Start(t, pgtest.DSN(t), pgproxy.WithDelay(time.Millisecond))
		conn = connect(t, proxy.DSN(pgtest.DSN(t)))
	})
	if _, err := conn.Exec(t.Context(), "select 1"); err == nil {
		t.Error("the connection outlives its proxy")
	}
}

func TestClientLearnsThatTheServerIsGone(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	proxy := pgproxy.Start(t, l.Addr().String())
	if _, err := pgx.Connect(t.Context(), "postgres://ann@"+proxy.Addr()+"/one?sslmode=disable"); err == nil {
		t.Error("no error")
	}
}
