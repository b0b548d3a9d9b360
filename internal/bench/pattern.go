package main

import (
	"context"
	"errors"

	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/tenantry/tenantry/internal/pgserver/dsn"
	"github.com/tenantry/tenantry/plugin"
)

// pattern is one way to serve tenants. run is called by many goroutines at once.
type pattern interface {
	// open connects to s. It returns errOutOfConnections if the server has too few.
	// What it has opened is closed by close even then.
	open(ctx context.Context, s site) error

	// run does one unit of work as t.
	run(ctx context.Context, t tenant, work func(session) error) error

	close() error
}

// errOutOfConnections says that a pattern needs more connections than the server has.
var errOutOfConnections = errors.New("out of connections")

// kind is a pattern by name.
type kind struct {
	name, title string
	databases   bool // each tenant has a database: there are site.databases of them
	pools       bool // each tenant has connections of its own
	anyTenant   bool // each connection serves any tenant
	build       func() pattern
}

const plainName = "plain"

// kinds returns all patterns; the first is the one that others are compared with.
func kinds() []kind {
	return []kind{
		{name: plainName, title: "plain GORM, one schema", anyTenant: true, build: func() pattern { return &plain{} }},
		{name: "schema", title: "Tenantry, a schema per tenant", anyTenant: true, build: func() pattern { return &tenantry{strategy: bySchema} }},
		{name: "schema-any", title: "Tenantry, a schema per tenant, WithTenantsPerConn(0)", anyTenant: true, build: func() pattern {
			return &tenantry{strategy: bySchema, opts: []plugin.Option{plugin.WithTenantsPerConn(0)}}
		}},
		{name: "database", title: "Tenantry, a database per tenant", databases: true, build: func() pattern { return &tenantry{strategy: byDatabase} }},
		{name: "mixed", title: "Tenantry, schemas and databases", build: func() pattern { return &tenantry{strategy: byBoth} }},
		{name: "set-reset", title: "SET and RESET search_path (gorm-multitenancy's UseTenant)", anyTenant: true, build: func() pattern { return &setReset{} }},
		{name: "set-local", title: "SET LOCAL search_path (gorm-multitenancy's WithTenant)", anyTenant: true, build: func() pattern { return &setLocal{} }},
		{name: "qualified", title: "qualified names by hand", anyTenant: true, build: func() pattern { return &qualified{} }},
		{name: "pools", title: "a *gorm.DB and pool per tenant", pools: true, build: func() pattern { return &pools{} }},
		{name: "rls", title: "row level security by hand", anyTenant: true, build: func() pattern { return &rowSecurity{} }},
		{name: "dbresolver", title: "dbresolver, a database per tenant", databases: true, build: func() pattern { return &resolver{} }},
	}
}

// site is where a pattern finds the tenants.
type site struct {
	server    string // connection string of the server, over the line
	database  string // where the schemas are
	app       string // application_name, by which the server's backends are told apart
	role      string // that row level security holds for
	password  string // of role
	tenants   []tenant
	conns     int // server connections of the pattern
	spare     int // server connections that no other pattern needs
	databases int // how many tenants have a database
	tuning    tuning
}

// tuning are settings of the plugin; negative values leave the library's default.
type tuning struct{ hot, tenantsPerConn int }

// dsn returns the connection string of a database, with more keywords and values.
func (s site) dsn(database string, more ...string) (string, error) {
	parts := append([]string{"dbname", database, "application_name", s.app}, more...)
	result := s.server
	for i := 0; i < len(parts); i += 2 {
		var err error
		if result, err = dsn.With(result, parts[i], parts[i+1]); err != nil {
			return "", err
		}
	}
	return result, nil
}

// openGORM opens a pool of conns connections, which stay open. A transaction in a
// transaction is part of it, as in the patterns that put one around each unit of work.
func openGORM(dsn string, conns int) (*gorm.DB, error) {
	db, err := gorm.Open(postgres.Open(dsn), gormConfig())
	if err != nil {
		return nil, errors.Join(err, closeGORM(db))
	}
	pool, err := db.DB()
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(conns)
	pool.SetMaxIdleConns(conns)
	return db, nil
}

func gormConfig() *gorm.Config {
	return &gorm.Config{Logger: logger.Discard, DisableNestedTransaction: true}
}

func closeGORM(db *gorm.DB) error {
	if db == nil || db.ConnPool == nil {
		return nil
	}
	pool, err := db.DB()
	if err != nil {
		return err
	}
	return pool.Close()
}
