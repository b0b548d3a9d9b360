package cli

import (
	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/catalog"
)

// listTenants returns the command that lists tenants.
func (t *tree) listTenants() *cobra.Command {
	var states, labels []string
	var server string
	cmd := &cobra.Command{
		Use: "list", Short: "List tenants, in the order of their ids",
		Args: wants(), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f := catalog.Filter{Server: server}
			for _, s := range states {
				if err := oneOf("--state", s, catalogStates()); err != nil {
					return err
				}
				f.States = append(f.States, catalog.State(s))
			}
			var err error
			if f.Labels, err = parseLabels("--label", labels); err != nil {
				return err
			}
			return t.withCatalog(cmd.Context(), func(c *catalog.Catalog) error {
				var tenants []catalog.Tenant
				for tenant, err := range c.List(cmd.Context(), f) {
					if err != nil {
						return err
					}
					tenants = append(tenants, tenant)
				}
				return t.printTenants(cmd, tenants)
			})
		},
	}
	cmd.Flags().StringSliceVar(&states, "state", nil, "only tenants in this `state`; may be repeated")
	cmd.Flags().StringArrayVar(&labels, "label", nil, "only tenants with this label, `key=value`; may be repeated")
	cmd.Flags().StringVar(&server, "server", "", "only tenants on this `server`")
	_ = cmd.RegisterFlagCompletionFunc("state", fixed(catalogStates()))
	_ = cmd.RegisterFlagCompletionFunc("label", cobra.NoFileCompletions)
	_ = cmd.RegisterFlagCompletionFunc("server", t.complete(serverNames))
	return cmd
}

// showTenant returns the command that shows all of one tenant.
func (t *tree) showTenant() *cobra.Command {
	return &cobra.Command{
		Use: "show TENANT", Short: "Show all that is known of a tenant",
		Args: wants("TENANT"), ValidArgsFunction: t.completeOne(tenantIDs),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := parseTenant(args[0])
			if err != nil {
				return err
			}
			return t.withCatalog(cmd.Context(), func(c *catalog.Catalog) error {
				tenant, err := c.Get(cmd.Context(), id)
				if err != nil {
					return err
				}
				return t.printTenant(cmd, tenant)
			})
		},
	}
}
