package plugin

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// place is what a pool belongs to: credentials may change, the place stays.
type place struct{ server, database, user string }

func (p place) String() string { return fmt.Sprintf("%s/%s as %s", p.server, p.database, p.user) }

// placeOf returns where c leads. PostgreSQL takes a missing database to be the
// one of the user's name.
func placeOf(c *pgx.ConnConfig) place {
	return place{server: strings.Join(addresses(c), ","), database: cmp.Or(c.Database, c.User), user: c.User}
}

// addresses returns the hosts that c tries, in order. pgx lists a host twice
// where it would try with and without TLS.
func addresses(c *pgx.ConnConfig) []string {
	hosts := []string{address(c.Host, c.Port)}
	for _, f := range c.Fallbacks {
		if a := address(f.Host, f.Port); !slices.Contains(hosts, a) {
			hosts = append(hosts, a)
		}
	}
	return hosts
}

// address is that of a server: two spellings would have two budgets. The
// directory of a socket is a path, with a case.
func address(host string, port uint16) string {
	if !strings.HasPrefix(host, "/") {
		host = strings.ToLower(host)
	}
	return net.JoinHostPort(host, strconv.FormatUint(uint64(port), 10))
}
