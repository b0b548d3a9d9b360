package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/scope"
)

// changeTenant returns a command that changes one tenant and then shows it. change
// gets the arguments behind the tenant's id.
func (t *tree) changeTenant(use, short string, args cobra.PositionalArgs, change func(context.Context, *catalog.Catalog, scope.Tenant, []string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: args, ValidArgsFunction: t.completeOne(tenantIDs),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := parseTenant(args[0])
			if err != nil {
				return err
			}
			return t.withCatalog(cmd.Context(), func(c *catalog.Catalog) error {
				if err := change(cmd.Context(), c, id, args[1:]); err != nil {
					return err
				}
				tenant, err := c.Get(cmd.Context(), id)
				if err != nil {
					return err
				}
				return t.printTenant(cmd, tenant)
			})
		},
	}
}

// turnTenant returns the command for suspend or resume.
func (t *tree) turnTenant(name, short string, turn func(*catalog.Catalog, context.Context, scope.Tenant) error) *cobra.Command {
	return t.changeTenant(name+" TENANT", short, wants("TENANT"),
		func(ctx context.Context, c *catalog.Catalog, id scope.Tenant, _ []string) error {
			return turn(c, ctx, id)
		})
}

// renameTenant returns the command that changes a tenant's name for people.
func (t *tree) renameTenant() *cobra.Command {
	cmd := t.changeTenant("rename TENANT NAME", "Give a tenant another name for people; its id stays", wants("TENANT", "NAME"),
		func(ctx context.Context, c *catalog.Catalog, id scope.Tenant, args []string) error {
			if args[0] == "" { // Rename would leave the name, and say that all is well
				return usage("NAME is empty")
			}
			return c.Rename(ctx, id, args[0])
		})
	cmd.Example = "  tenants rename acme 'Acme Corp'"
	return cmd
}
