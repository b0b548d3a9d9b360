package cli

import (
	"context"
	"errors"
	"fmt"
	"os/exec"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/driver"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

const psqlLong = `Start psql on a tenant's database, with its role and its search_path. What stands
behind -- is passed on to psql. The exit code is psql's own.

The connection is the application's, password included: they are handed to psql
in its environment, never on its command line. A token that is the password must still
count when psql connects; psql dials by itself, without a DialFunc. It is no fence against whoever
types: "set role none" takes a tenant's role away, if the application's own login
stands behind it.`

// psql returns the command that starts PostgreSQL's client.
func (t *tree) psql() *cobra.Command {
	return &cobra.Command{
		Use: "psql TENANT [-- psql's arguments]", Short: "Start psql as a tenant", Long: psqlLong,
		Example: "  psql acme\n  psql acme -- -c 'select count(*) from invoices'",
		Args: func(cmd *cobra.Command, args []string) error {
			if at := cmd.ArgsLenAtDash(); at >= 0 {
				args = args[:at]
			}
			return wants("TENANT")(cmd, args)
		},
		ValidArgsFunction: t.completeOne(tenantIDs),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := parseTenant(args[0])
			if err != nil {
				return err
			}
			client, err := exec.LookPath("psql")
			if err != nil {
				return fmt.Errorf("%w: install PostgreSQL's client, or put its directory into PATH", err)
			}
			var env []string
			err = t.with(cmd.Context(), func(s *Service) error {
				db, err := s.db()
				if err == nil {
					env, err = clientEnv(cmd.Context(), db, id)
				}
				return err
			})
			if err != nil {
				return err
			}
			return become(cmd.Context(), client, args[1:], env)
		},
	}
}

// psqlFlagError says where psql's own arguments belong.
func psqlFlagError(cmd *cobra.Command, err error) error {
	return fmt.Errorf("%w: put psql's own arguments behind --", flagError(cmd, err))
}

// clientEnv returns the environment with which psql reaches the tenant.
func clientEnv(ctx context.Context, db *gorm.DB, id scope.Tenant) ([]string, error) {
	settings, err := settingsOf(ctx, db, id)
	if err != nil {
		return nil, &scope.TenantError{Op: "place", Tenant: id, Err: err}
	}
	c, err := reach(ctx, db, id)
	if err != nil {
		return nil, err
	}
	return environment(c, settings), nil
}

// settingsOf returns the settings of the tenant's statements.
func settingsOf(ctx context.Context, db *gorm.DB, id scope.Tenant) ([]driver.Setting, error) {
	pool, err := db.DB()
	if err != nil {
		return nil, err
	}
	connector, ok := driver.Of(pool)
	if !ok {
		return nil, errors.New("the tenantry plugin is not registered on the *gorm.DB")
	}
	place, err := connector.Locator.Locate(scope.With(ctx, id), driver.Scope{Tenant: id})
	if err != nil {
		return nil, err
	}
	if place.Lease != nil {
		place.Lease.Release()
	}
	return place.Settings, nil
}

// reach begins a transaction as the tenant, which is an error if its schema is not
// there: psql would show nothing, and say nothing. It returns the configuration of
// that very connection, with a password that may have been fetched for it alone.
func reach(ctx context.Context, db *gorm.DB, id scope.Tenant) (config *pgx.ConnConfig, err error) {
	err = db.WithContext(scope.With(ctx, id)).Transaction(func(tx *gorm.DB) error {
		return plugin.WithConn(tx, func(c *pgx.Conn) error {
			config = c.Config()
			direct, err := driver.Direct(ctx, c.PgConn())
			if err == nil && !direct {
				err = errors.New("a connection pooler stands in front of the database, which may drop role and search_path: psql needs a direct connection")
			}
			return err
		})
	})
	return config, err
}
