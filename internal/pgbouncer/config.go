package pgbouncer

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/internal/pgserver/dsn"
)

// Config says what to start.
type Config struct {
	// Target is the connection string of a database on the server behind. All
	// databases of that server can be reached. Required.
	Target string

	// PoolSize is how many server connections each pair of user and database
	// has (default_pool_size). Zero is PgBouncer's default, 20.
	PoolSize int

	// Users are the users who may log in besides Target's, and their passwords.
	Users map[string]string

	// AnyUser lets every user of the server log in, with the password that it has
	// there: PgBouncer asks the server as Target's user, who must be a superuser, and
	// uses the client's proof to log in. The server must ask for scram-sha-256.
	AnyUser bool

	// Extra are further lines of the section [pgbouncer]. They come last and
	// so count more than the lines of our own.
	Extra []string
}

// files returns what goes into the directory dir, for a PgBouncer on addr.
func (c Config) files(dir, addr string) (map[string]string, error) {
	target, err := dsn.Parse(c.Target)
	if err != nil {
		return nil, fmt.Errorf("pgbouncer: target: %w", err)
	}
	if c.PoolSize < 0 {
		return nil, errors.New("pgbouncer: the pool size is negative")
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("pgbouncer: %w", err)
	}
	lines := []string{
		"[databases]",
		fmt.Sprintf("* = host='%s' port=%d", strings.ReplaceAll(target.Host, "'", "''"), target.Port),
		"[pgbouncer]",
		"listen_addr = " + host,
		"listen_port = " + port,
		"unix_socket_dir =",
		"pool_mode = transaction",
		"max_client_conn = 1000",
		"auth_type = " + c.authType(target),
		"auth_file = " + filepath.Join(dir, usersFile),
	}
	if c.PoolSize > 0 {
		lines = append(lines, fmt.Sprintf("default_pool_size = %d", c.PoolSize))
	}
	if c.AnyUser {
		lines = append(lines, "auth_user = "+target.User, "auth_query = select usename, passwd from pg_catalog.pg_shadow where usename = $1")
	}
	lines = append(lines, c.Extra...)
	return map[string]string{
		iniFile:   strings.Join(lines, "\n") + "\n",
		usersFile: c.users(target),
	}, nil
}

// authType asks clients for a password where the server asks us for one.
func (c Config) authType(target *pgx.ConnConfig) string {
	switch {
	case c.AnyUser:
		return "scram-sha-256"
	case target.Password == "":
		return "trust"
	}
	return "plain" // on loopback; tests open thousands of connections, and scram costs each of them milliseconds
}

// users returns the list of users. The passwords are plain text, because PgBouncer logs
// in to the server with them.
func (c Config) users(target *pgx.ConnConfig) string {
	all := map[string]string{target.User: target.Password}
	maps.Copy(all, c.Users)
	quote := func(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "%s %s\n", quote(name), quote(all[name]))
	}
	return b.String()
}
