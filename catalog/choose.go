package catalog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// serverSet is a set of servers, by name.
type serverSet map[string]bool

// unreachable returns the servers that would be chosen for a new tenant, but don't
// answer: a server that is down has few tenants, and would draw all sign-ups. A
// server that n names is not asked.
func (c *Catalog) unreachable(ctx context.Context, n New) (serverSet, error) {
	down := serverSet{}
	if n.Server != "" {
		return down, nil
	}
	servers, err := c.Servers(ctx)
	if err != nil {
		return nil, err
	}
	var errs []error
	for {
		name, err := c.chooseServer(ctx, n, down, servers)
		if err != nil {
			return nil, errors.Join(append(errs, err)...)
		}
		if err = c.reach(ctx, name); err == nil {
			return down, nil
		}
		c.logger.Warn("catalog: a server gets no new tenants because it can't be reached", slog.String("server", name), slog.Any("error", err))
		errs = append(errs, err)
		down[name] = true
	}
}

// reach connects to a server. The master's own has just answered.
func (c *Catalog) reach(ctx context.Context, name string) error {
	if name == Main {
		return nil
	}
	server, err := c.server(ctx, name)
	if err != nil {
		return err
	}
	s, err := c.administer(ctx, &tenantRow{ServerName: name, Server: server})
	if err != nil {
		return err
	}
	return s.close()
}

// serverFor returns the server for a new tenant. The servers are locked against
// other sign-ups: two must not take the last room.
func (c *Catalog) serverFor(ctx context.Context, tx *gorm.DB, n New, down serverSet) (row serverRow, err error) {
	lock := clause.Locking{Strength: "NO KEY UPDATE"}
	var rows []serverRow
	if err := tx.Clauses(lock).Order("name").Find(&rows).Error; err != nil {
		return row, err
	}
	servers, err := serversOf(tx)
	if err != nil {
		return row, err
	}
	name, err := c.chooseServer(ctx, n, down, servers)
	if err != nil {
		return row, err
	}
	for _, r := range rows {
		if r.Name == name {
			return r, nil
		}
	}
	return row, fmt.Errorf("%w server %q, which was chosen", ErrUnknown, name)
}

// chooseServer returns the name of one with room.
func (c *Catalog) chooseServer(ctx context.Context, n New, down serverSet, servers []Server) (string, error) {
	var open []Server
	known := false
	for _, s := range servers {
		wanted := n.Server == "" || n.Server == s.Name
		known = known || wanted
		if wanted && !s.Full && !down[s.Name] && (s.Capacity == 0 || s.Tenants < s.Capacity) {
			open = append(open, s)
		}
	}
	switch {
	case !known:
		return "", invalid("server", n.Server, "there is no such server")
	case len(open) == 0 && n.Server != "":
		return "", fmt.Errorf("%w: server %q is full", ErrNoRoom, n.Server)
	case len(open) == 0:
		return "", ErrNoRoom
	case n.Server != "":
		return n.Server, nil
	}
	name, err := c.choose(ctx, n, open)
	if err == nil && !slices.ContainsFunc(open, func(s Server) bool { return s.Name == name }) {
		err = fmt.Errorf("server %q was chosen, which is not one of those with room", name)
	}
	return name, err
}
