package doctor

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// oldest is the oldest major version of PostgreSQL that is supported.
const oldest = 15

// improvement is what a major version brings to a service with tenants.
type improvement struct {
	major int
	text  string
}

// improvements returns what newer versions bring, from PostgreSQL's release notes.
func improvements() []improvement {
	return []improvement{
		{16, "CREATEROLE reaches only the roles that its holder has made, so the catalog's administrator can't change others"},
		{17, "transaction_timeout bounds whole transactions, such as a tenant's that forgets to commit"},
		{18, "NOT NULL can be added as NOT VALID, so a migration need not read the table under its lock"},
	}
}

// version looks at the server's.
func (e *exam) version(ctx context.Context, c *pgx.Conn) error {
	number, err := one[int](ctx, c, "select pg_catalog.current_setting('server_version_num')::pg_catalog.int4")
	if err == nil {
		e.find(judgeVersion(number / 10000))
	}
	return err
}

func judgeVersion(major int) Finding {
	f := Finding{ID: "server-version", Severity: Info, What: fmt.Sprintf("The server is PostgreSQL %d.", major)}
	if major < oldest {
		f.Severity = Problem
		f.Why = fmt.Sprintf("The oldest version that is supported and tested is %d. In older ones everybody may create tables in the schema public.", oldest)
		f.How = fmt.Sprintf("Upgrade the server to PostgreSQL %d or later.", oldest)
		return f
	}
	var has, lacks []string
	for _, i := range improvements() {
		text := fmt.Sprintf("%d: %s", i.major, i.text)
		if i.major <= major {
			has = append(has, text)
		} else {
			lacks = append(lacks, text)
		}
	}
	f.Why = "Everything works with it."
	if len(has) > 0 {
		f.Why += " It has, since version " + strings.Join(has, "; ") + "."
	}
	f.How = "Nothing has to be done."
	if len(lacks) > 0 {
		f.How += " An upgrade would bring, with version " + strings.Join(lacks, "; ") + "."
	}
	return f
}
