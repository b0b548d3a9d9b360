package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/scope"
)

// repairView is what became of a tenant, as JSON.
type repairView struct {
	Tenant scope.Tenant  `json:"tenant"`
	State  catalog.State `json:"state"` // empty if it is gone
	Error  string        `json:"error,omitempty"`
}

// repair returns the command that finishes what was cut off.
func (t *tree) repair() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "repair {TENANT...|--all}", Short: "Finish sign-ups and drops that were cut off, and give the serving role its rights",
		ValidArgsFunction: t.complete(tenantIDs),
		Args: func(_ *cobra.Command, args []string) error {
			if (len(args) > 0) == all {
				return usage("name tenants, or give --all for all that are broken")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ids, err := parseTenants(args)
			if err != nil {
				return err
			}
			return t.withCatalog(cmd.Context(), func(c *catalog.Catalog) (err error) {
				if all {
					ids, err = c.Broken(cmd.Context())
				}
				if err != nil {
					return err
				}
				return t.repairEach(cmd, c, ids, all)
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "all tenants that there is something to do for")
	return cmd
}

// repairEach repairs one tenant after the other. If all are meant, another process
// may be at work on one, or may have dropped it meanwhile.
func (t *tree) repairEach(cmd *cobra.Command, c *catalog.Catalog, ids []scope.Tenant, all bool) error {
	views := []repairView{}
	bad := 0
	for _, id := range ids {
		err := c.Repair(cmd.Context(), id)
		if all && (errors.Is(err, catalog.ErrBusy) || errors.Is(err, catalog.ErrUnknown)) {
			err = nil
		}
		v := repairView{Tenant: id}
		if tenant, unknown := c.Get(cmd.Context(), id); unknown == nil {
			v.State = tenant.State
		}
		if err != nil {
			v.Error = err.Error()
			bad++
		}
		views = append(views, v)
	}
	err := t.print(cmd, views, func(s *sheet) {
		s.row("TENANT", "STATE", "ERROR")
		for _, v := range views {
			s.row(v.Tenant.String(), choose(v.State == "", "gone", string(v.State)), oneLine(v.Error))
		}
	})
	if err == nil && bad > 0 {
		err = failed("%d of %s could not be repaired", bad, count(len(views), "tenant"))
	}
	return err
}
