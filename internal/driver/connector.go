package driver

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Connector makes empty shells. It is safe for concurrent use.
type Connector struct {
	// Locator places every scope.
	Locator Locator
	// Base is the pool that Ping looks at: a ping names no tenant.
	Base *pgxpool.Pool
	// Shared is the pool of which Base is the pgxpool; nil if connections are taken from Base itself.
	Shared *SharedPool
	// OnClose is called when the *sql.DB is closed.
	OnClose func() error
	// Comments says that statements carry their tenant in a comment.
	Comments bool
	// Place names the one place of a connector whose statements need no tenant, under
	// [WithPlace]; "" for a connector of tenants.
	Place string
	// Counters count what passes through; never nil.
	Counters *Counters

	types typeCache
}

// Counters count since the start of the process.
type Counters struct {
	Statements   atomic.Uint64 // statements sent outside and inside transactions
	Transactions atomic.Uint64 // transactions begun
	Refused      atomic.Uint64 // statements and transactions refused for want of a scope
	Mismatched   atomic.Uint64 // statements refused because their transaction is another tenant's
	Errors       atomic.Uint64 // statements and transactions that ended in any other error
}

var (
	_ driver.Connector = (*Connector)(nil)
	_ io.Closer        = (*Connector)(nil)
)

// Connect returns an empty shell. It never fails and never dials: database/sql
// may call it from a goroutine of its own, without any request's context.
func (c *Connector) Connect(context.Context) (driver.Conn, error) {
	return &conn{connector: c}, nil
}

// Driver returns a driver that only knows how to refuse: a tenant's place is
// not a data source name.
func (c *Connector) Driver() driver.Driver { return opener{c} }

// Close is called by (*sql.DB).Close.
func (c *Connector) Close() error { return c.OnClose() }

// opener is the driver of one connector.
type opener struct{ connector *Connector }

func (opener) Open(string) (driver.Conn, error) {
	return nil, errors.New("tenantry: connections are opened by the plugin, not by name")
}

// Of returns the connector that db is made of, if it is one of this package.
func Of(db *sql.DB) (*Connector, bool) {
	o, ok := db.Driver().(opener)
	return o.connector, ok
}
