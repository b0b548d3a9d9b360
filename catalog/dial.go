package catalog

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/internal/driver"
	"github.com/tenantry/tenantry/plugin"
)

// beforeConnect is what pgxpool calls before each connection that it opens.
type beforeConnect func(context.Context, *pgx.ConnConfig) error

// connConfig returns the configuration of connections to d on the named server. Each
// connection that the catalog dials itself begins here, those of the pool map in
// strategy.place.
func (c *Catalog) connConfig(server string, d plugin.Database) (*pgxpool.Config, error) {
	cfg, err := d.Config()
	if err != nil {
		return nil, err
	}
	cfg.BeforeConnect = c.before(server, d)
	return cfg, nil
}

// before returns what is called before each connection to d on the named server, nil
// without WithBeforeConnect. The hook can't lead to another database, nor to another
// login: a tenant's connections would be another tenant's.
func (c *Catalog) before(server string, d plugin.Database) beforeConnect {
	hook := c.hook
	if hook == nil {
		return nil
	}
	own := d.User != "" // a tenant's login, whose password the catalog has made
	return func(ctx context.Context, cc *pgx.ConnConfig) error {
		ctx, cancel := context.WithTimeout(ctx, dialLimit)
		defer cancel()
		database, user, password := cc.Database, cc.User, cc.Password
		err := hook(ctx, server, cc)
		if err == nil && (cc.Database != database || cc.User != user) {
			err = errors.New("the function has changed Database or User, which must stay as they are")
		}
		if err != nil {
			return fmt.Errorf("catalog: WithBeforeConnect: server %q: %w", server, driver.Redact(err))
		}
		if own {
			cc.Password = password
		}
		return nil
	}
}
