package doctor

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/catalog"
)

const (
	catalogConns  = 13  // what catalog.Open says that it opens at most
	defaultBudget = 100 // of plugin.WithBudget
	perDatabase   = 4   // of plugin.WithConnsPerDatabase
)

// room is how many connections the server takes from the application.
type room struct {
	Server   int // max_connections without what is reserved
	Login    int // the role's own limit, -1 if it has none
	Database int // the same of the database
}

// connections compares the pools with what the server takes. Behind a pooler it is
// the pooler that counts.
func (e *exam) connections(ctx context.Context, c *pgx.Conn) error {
	if e.pooled {
		return nil
	}
	rows, err := structs[room](ctx, c, `select
		(select pg_catalog.sum(case name when 'max_connections' then setting::pg_catalog.int4 else -setting::pg_catalog.int4 end)::pg_catalog.int4
			from pg_catalog.pg_settings where name in ('max_connections', 'superuser_reserved_connections', 'reserved_connections')),
		(select rolconnlimit from pg_catalog.pg_roles where rolname = session_user),
		(select datconnlimit from pg_catalog.pg_database where datname = pg_catalog.current_database())`)
	if err != nil {
		return err
	}
	r, parts := rows[0], e.parts()
	f, found := judgeConnections(r.least(), e.processes, parts)
	if e.servingRole() != "" { // the limit of the login is the base pool's alone
		login := r.Login
		r.Login = -1
		if f, found = judgeConnections(r.least(), e.processes, parts); !found && login >= 0 {
			f, found = judgeConnections(login, e.processes, parts[:1])
		}
	}
	if found {
		e.find(f)
	}
	return nil
}

func (r room) least() int {
	least := r.Server
	for _, n := range []int{r.Login, r.Database} {
		if n >= 0 {
			least = min(least, n)
		}
	}
	return least
}

// part is the most connections that a part of the service opens.
type part struct {
	name string
	most int
}

// parts returns those of one process on the server of the base pool.
func (e *exam) parts() []part {
	all := []part{{"base pool", int(e.connector.Base.Config().MaxConns)}}
	if e.catalog != nil {
		all = append(all, part{"catalog", catalogConns})
	}
	if n := e.placesBudget(); n > 0 {
		all = append(all, part{"tenants' databases", n})
	}
	return all
}

// placesBudget returns the most connections of the pool map to the base pool's server.
func (e *exam) placesBudget() int {
	if e.budget > 0 || e.catalog == nil {
		return e.budget
	}
	places := 1 // the administrator's, for migrations
	for _, t := range e.tenants {
		if t.Kind == catalog.OwnDatabase && t.Server == catalog.Main {
			places++
		}
	}
	return min(defaultBudget, places*perDatabase)
}

// judgeConnections returns a finding if more than 80 % of the room may be used.
func judgeConnections(room, processes int, parts []part) (Finding, bool) {
	one := 0
	texts := make([]string, len(parts))
	for i, p := range parts {
		one += p.most
		texts[i] = fmt.Sprintf("%s %d", p.name, p.most)
	}
	most := one * processes
	f := Finding{
		ID: "connections", Severity: Info,
		What: fmt.Sprintf("The service may open %s (%s; %s), and the server takes %d from it.", count(most, "connection"), strings.Join(texts, ", "), processText(processes), room),
		Why:  "Little is left for other programs, for psql, and for a second version of the service during a rollout.",
		How:  "Lower plugin.WithMaxConns or plugin.WithBudget, raise max_connections (or the limit of the role or database), or put a pooler in front.",
	}
	if most > room {
		f.Severity = Problem
		f.Why = "Under load, connections are refused (53300), and requests of any tenant fail."
	}
	return f, most*5 > room*4
}

func processText(n int) string {
	if n == 1 {
		return "1 process"
	}
	return fmt.Sprintf("%d processes", n)
}
