package catalog

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/tenantry/tenantry/httpmw"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// record is what lookups and statements need of a tenant, made once for many of
// them. It does not change, but for doubted.
type record struct {
	tenant scope.Tenant
	state  State
	refs   []httpmw.Ref // its id and its hosts

	doubted  atomic.Int64     // when a server last refused its login, in Unix seconds
	err      error            // why the tenant can't be placed
	server   string           // its name
	onMain   bool             // in a schema of the master database: the base pool's
	database plugin.Database  // elsewhere
	admin    plugin.Database  // where migrations run
	schema   string           // to be there
	settings []plugin.Setting // of its statements
	path     []plugin.Setting // of its migrations
}

func (c *Catalog) newRecord(ctx context.Context, row *tenantRow) *record {
	r := &record{tenant: row.id(), state: row.State, server: row.ServerName, schema: row.Schema}
	r.refs = append(r.refs, idRef(r.tenant))
	for _, h := range row.Hosts {
		r.refs = append(r.refs, h.public().ref())
	}
	r.err = r.locate(ctx, c, row)
	return r
}

// locate works out where the tenant's statements run.
func (r *record) locate(ctx context.Context, c *Catalog, row *tenantRow) error {
	if err := c.check(row); err != nil {
		return err
	}
	server, err := c.connString(ctx, &row.Server)
	if err != nil {
		return err
	}
	r.admin = plugin.Database{Server: server}
	r.database = r.admin
	if row.Kind == OwnDatabase {
		password, err := c.ring.open(ctx, passwordOf(row.ID), row.Password)
		if err != nil {
			return err
		}
		r.admin.Name = row.Database
		r.database = plugin.Database{Server: server, Name: row.Database, User: row.role(), Password: password}
	} else if row.Server.ServingConn != nil {
		if r.database.Server, err = c.ring.open(ctx, servingConnOf(row.ServerName), row.Server.ServingConn); err != nil {
			return err
		}
	}
	r.onMain = row.Kind == OwnSchema && row.ServerName == Main
	r.path, err = plugin.SearchPath(append([]string{row.Schema}, c.sharedFor(row)...)...)
	r.settings = r.path[:len(r.path):len(r.path)]
	if row.Kind == OwnSchema && row.Role != nil {
		r.settings = append(r.settings, plugin.Setting{Name: "role", Value: row.role()})
	}
	return err
}

// doubt reports whether the record should be read again because a server refuses its
// login, at most once a second.
func (r *record) doubt() bool {
	now := time.Now().Unix()
	last := r.doubted.Load()
	return now > last && r.doubted.CompareAndSwap(last, now)
}

// refusal returns why a tenant in this state is not served, or nil. Migrations
// are for suspended tenants, too.
func (r *record) refusal(migrating bool) error {
	switch {
	case r.state == Active, r.state == Suspended && migrating:
		return nil
	case r.state == Suspended:
		return ErrSuspended
	}
	return &notReady{r}
}

// notReady says that a tenant is being made or dropped. For requests there is no
// such tenant.
type notReady struct{ r *record }

func (e *notReady) Error() string {
	return (&StateError{Tenant: e.r.tenant, State: e.r.state, Op: "serve"}).Error()
}

func (e *notReady) Unwrap() []error {
	return []error{&StateError{Tenant: e.r.tenant, State: e.r.state, Op: "serve"}, ErrUnknown}
}
