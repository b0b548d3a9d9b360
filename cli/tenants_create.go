package cli

import (
	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/catalog"
)

// createTenant returns the command that signs a tenant up.
func (t *tree) createTenant() *cobra.Command {
	var n catalog.New
	var kind string
	var labels []string
	kinds := texts(catalog.OwnSchema, catalog.OwnDatabase)
	cmd := &cobra.Command{
		Use: "create TENANT", Short: "Sign a tenant up: make its schema or database, its role and tables",
		Args: wants("TENANT"), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if err := oneOf("--kind", kind, kinds); err != nil {
				return err
			}
			n.ID, n.Kind = args[0], catalog.Kind(kind)
			if n.Labels, err = parseLabels("--label", labels); err != nil {
				return err
			}
			return t.withCatalog(cmd.Context(), func(c *catalog.Catalog) error {
				tenant, err := c.Create(cmd.Context(), n)
				if err != nil {
					return err
				}
				return t.printTenant(cmd, tenant)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&n.Name, "name", "", "its `name` for people (default: TENANT)")
	f.StringSliceVar(&n.Hosts, "host", nil, "a subdomain or full domain of it; the first `host` is the primary one (default: TENANT)")
	f.StringVar(&kind, "kind", string(catalog.OwnSchema), "what it has of its own: schema or database")
	f.StringVar(&n.Server, "server", "", "the `server` on which it is to live (default: the service's choice)")
	f.StringArrayVar(&labels, "label", nil, "a label of it, `key=value`; may be repeated")
	_ = cmd.RegisterFlagCompletionFunc("kind", fixed(kinds))
	_ = cmd.RegisterFlagCompletionFunc("server", t.complete(serverNames))
	return cmd
}
