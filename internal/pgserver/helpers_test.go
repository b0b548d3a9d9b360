package pgserver_test

import (
	"context"
	"net"
	"testing"

	"github.com/tenantry/tenantry/internal/pgserver"
	"github.com/tenantry/tenantry/internal/pgserver/dsn"
)

func refuses(addr string) bool {
	conn, err := net.Dial("tcp", addr)
	if err == nil {
		_ = conn.Close()
	}
	return err != nil
}

// address returns host:port of a server or of a connection string.
func address[T string | *pgserver.Server](t *testing.T, of T) string {
	t.Helper()
	s, ok := any(of).(string)
	if !ok {
		s = any(of).(*pgserver.Server).DSN()
	}
	_, addr, err := dsn.Address(s)
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

func ways(name1 string, err1 error, name2 string, err2 error) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		name1: func(context.Context) error { return err1 },
		name2: func(context.Context) error { return err2 },
	}
}
