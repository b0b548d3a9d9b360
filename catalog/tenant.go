package catalog

import (
	"time"

	"github.com/tenantry/tenantry/scope"
)

// State is where a tenant is in its life.
type State string

// The states of a tenant.
const (
	Provisioning State = "provisioning" // being made, or its making was cut off: see [Catalog.Repair]
	Active       State = "active"       // served
	Suspended    State = "suspended"    // kept, migrated, not served
	Deleting     State = "deleting"     // being dropped, or the dropping was cut off: see [Catalog.Repair]
	Failed       State = "failed"       // could not be made; what was made is undone
)

// Kind is what a tenant has of its own.
type Kind string

// The kinds of placement.
const (
	OwnSchema   Kind = "schema"   // a schema in the shared database of its server
	OwnDatabase Kind = "database" // a database, with a login
)

// Tenant is what the catalog knows of a tenant, without its secrets. It is a
// copy: changing it changes nothing.
type Tenant struct {
	ID        scope.Tenant
	Name      string // for people
	State     State
	Failure   string // why it failed; empty in other states
	Kind      Kind
	Server    string // name of the server
	Database  string
	Schema    string
	Role      string            // PostgreSQL role of its statements; empty if it has none
	Hosts     []Host            // the primary one first; never empty
	Labels    map[string]string // may be nil
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Primary returns the host that stands for the tenant, in links for example.
func (t Tenant) Primary() Host {
	if len(t.Hosts) == 0 {
		return Host{}
	}
	return t.Hosts[0]
}
