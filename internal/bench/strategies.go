package main

import (
	"context"
	"io"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

func bySchema(s site) (plugin.Strategy, int, error) { return plugin.BySchema(), s.conns, nil }

func byDatabase(s site) (plugin.Strategy, int, error) {
	return databases(s, s.conns), 1, nil // nothing is shared: the base pool has nothing to do
}

// databases places tenants in databases of their own. There are never fewer connections
// than databases: to close one for another with each unit would measure PostgreSQL's log-in.
func databases(s site, conns int) plugin.Strategy {
	budget := max(conns, min(s.databases, len(s.tenants)))
	each := max(1, budget/min(s.databases, len(s.tenants)))
	names := map[scope.Tenant]string{}
	for _, t := range s.tenants {
		names[t.id] = t.database
	}
	server, err := s.dsn(s.database)
	where := func(_ context.Context, t scope.Tenant) (plugin.Database, error) {
		return plugin.Database{Server: server, Name: names[t]}, err
	}
	return plugin.ByDatabase(where, plugin.WithBudget(budget), plugin.WithConnsPerDatabase(each))
}

// byBoth gives every tenth tenant a database if it has one, and the others a schema. The
// databases get a quarter of the connections, or as many as they are.
func byBoth(s site) (plugin.Strategy, int, error) {
	m := &mixed{schemas: plugin.BySchema(), large: map[scope.Tenant]bool{}}
	var large []tenant
	for _, t := range s.tenants[:min(s.databases, len(s.tenants))] {
		if t.number%10 == 9 && len(large) < s.conns/2 {
			large = append(large, t)
			m.large[t.id] = true
		}
	}
	if len(large) == 0 {
		return m.schemas, s.conns, nil
	}
	share := max(len(large), s.conns/4)
	s.tenants = large
	m.databases = databases(s, share)
	return m, s.conns - share, nil
}

// mixed is a strategy of an application's own that knows which tenants are large.
type mixed struct {
	schemas, databases plugin.Strategy
	large              map[scope.Tenant]bool
}

func (m *mixed) Place(ctx context.Context, base *pgxpool.Pool, t scope.Tenant) (plugin.Placement, error) {
	if m.large[t] {
		return m.databases.Place(ctx, base, t)
	}
	return m.schemas.Place(ctx, base, t)
}

func (m *mixed) PlaceShared(ctx context.Context, base *pgxpool.Pool) (plugin.Placement, error) {
	return m.schemas.PlaceShared(ctx, base)
}

// Close closes the pools of the databases.
func (m *mixed) Close() error {
	if c, ok := m.databases.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
