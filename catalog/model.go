package catalog

import (
	"time"

	"github.com/tenantry/tenantry/scope"
)

// tenantRow is a row of tenantry.tenants. It shows no secret: sealed writes none.
type tenantRow struct {
	ID          string `gorm:"primaryKey"`
	Name        string
	State       State
	Kind        Kind
	ServerName  string `gorm:"column:server"`
	Cluster     string
	Database    string
	Schema      string
	Role        *string
	Password    sealed
	Labels      map[string]string `gorm:"serializer:json"`
	Failure     string
	ActivatedAt *time.Time // when it first became active
	CreatedAt   time.Time
	UpdatedAt   time.Time

	Server serverRow `gorm:"foreignKey:ServerName;references:Name"`
	Hosts  []hostRow `gorm:"foreignKey:Tenant"`

	spare bool   // it is no tenant, but a spare, whose name is the ID
	taken string // name of the spare whose place it has got just now
}

// TableName is GORM's.
func (tenantRow) TableName() string { return "tenantry.tenants" }

// hostRow is a row of tenantry.hosts.
type hostRow struct {
	Name      string `gorm:"primaryKey"`
	Tenant    string
	IsPrimary bool
}

// TableName is GORM's.
func (hostRow) TableName() string { return "tenantry.hosts" }

// serverRow is a row of tenantry.servers.
type serverRow struct {
	Name        string `gorm:"primaryKey"`
	Conn        sealed // nil for the master's own server
	ServingConn sealed // of tenants' statements; nil if they go by Conn, and for the master's own server
	ServingRole string // who logs in with it
	Cluster     string // PostgreSQL's system identifier
	Database    string // in which schema tenants live
	Capacity    int64
	Full        bool
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// TableName is GORM's.
func (serverRow) TableName() string { return "tenantry.servers" }

// databaseRow is a row of tenantry.databases: what lives in a database.
type databaseRow struct {
	Cluster string `gorm:"primaryKey"`
	Name    string `gorm:"primaryKey"`
	Kind    Kind
}

// TableName is GORM's.
func (databaseRow) TableName() string { return "tenantry.databases" }

// id returns the tenant's id. The table's constraint is scope.Parse's rule; a
// row that breaks it all the same names no tenant.
func (r *tenantRow) id() scope.Tenant {
	t, err := scope.Parse(r.ID)
	if err != nil {
		return scope.Tenant{}
	}
	return t
}

// purpose is what the password is sealed for.
func (r *tenantRow) purpose() purpose {
	if r.spare {
		return sparePasswordOf(r.ID)
	}
	return passwordOf(r.ID)
}

// public returns what may be shown.
func (r *tenantRow) public() Tenant {
	t := Tenant{
		ID: r.id(), Name: r.Name, State: r.State, Failure: r.Failure, Kind: r.Kind,
		Server: r.ServerName, Database: r.Database, Schema: r.Schema, Role: r.role(),
		Labels: r.Labels, CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt,
	}
	for _, h := range r.Hosts {
		t.Hosts = append(t.Hosts, h.public())
	}
	return t
}

// samePlace reports whether r and o name the same place: rows of one id whose
// places differ are two tenants, one after the other.
func (r *tenantRow) samePlace(o *tenantRow) bool {
	return r.Cluster == o.Cluster && r.Database == o.Database && r.Schema == o.Schema
}

func (r *tenantRow) role() string {
	if r.Role == nil {
		return ""
	}
	return *r.Role
}

func (h hostRow) public() Host {
	host, err := ParseHost(h.Name)
	if err != nil {
		return Host{Name: h.Name} // the table was changed by hand
	}
	return host
}
