package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/scope"
)

// droppedView is a dropped tenant as JSON.
type droppedView struct {
	Dropped scope.Tenant `json:"dropped"`
}

// dropTenant returns the command that drops a tenant.
func (t *tree) dropTenant() *cobra.Command {
	var sure confirmation
	cmd := &cobra.Command{
		Use: "drop TENANT", Short: "Drop a tenant for ever, with all its data",
		Args: wants("TENANT"), ValidArgsFunction: t.completeOne(tenantIDs),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := parseTenant(args[0])
			if err != nil {
				return err
			}
			return t.withCatalog(cmd.Context(), func(c *catalog.Catalog) error {
				return t.drop(cmd, c, id, &sure)
			})
		},
	}
	sure.flag(cmd)
	return cmd
}

func (t *tree) drop(cmd *cobra.Command, c *catalog.Catalog, id scope.Tenant, sure *confirmation) error {
	tenant, err := c.Get(cmd.Context(), id)
	if err != nil {
		return err
	}
	question := fmt.Sprintf("Tenant %s (%s, %s) will be dropped for ever, with all its data.", id, printable(tenant.Name), tenant.State)
	if err := sure.ask(cmd, question, id.String()); err != nil {
		return err
	}
	if err := c.Drop(cmd.Context(), id, id.String()); err != nil {
		return err
	}
	return t.print(cmd, droppedView{id}, func(s *sheet) { s.line("%s is dropped", id) })
}
