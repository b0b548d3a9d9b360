package cli

import (
	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/migrator"
)

// drift returns the command that compares tenants' schemas.
func (t *tree) drift() *cobra.Command {
	var sel selection
	var reference string
	var check bool
	cmd := &cobra.Command{
		Use: "drift --reference TENANT", Short: "Compare the tables of tenants with those of one that is as it should be",
		Args: wants(), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if reference == "" {
				return usage("--reference is missing: the tenant to compare with")
			}
			id, err := parseTenant(reference)
			if err != nil {
				return err
			}
			selected, err := sel.parse()
			if err != nil {
				return err
			}
			return t.withMigrator(cmd.Context(), func(m *migrator.Migrator) error {
				differences, err := m.Drift(cmd.Context(), id, selected)
				if !ofTenants(err) {
					return err
				}
				return t.drifted(cmd, differences, err, check)
			})
		},
	}
	sel.flags(t, cmd, ledgerStates())
	cmd.Flags().StringVar(&reference, "reference", "", "the `tenant` to compare with")
	checkFlag(cmd, &check, "if there are differences")
	_ = cmd.RegisterFlagCompletionFunc("reference", t.complete(tenantIDs))
	return cmd
}

// differenceView is a difference as JSON.
type differenceView struct {
	Tenant string `json:"tenant"`
	Object string `json:"object"`
	Want   string `json:"want"` // empty if the reference has none
	Have   string `json:"have"` // empty if the tenant has none
}

// drifted prints what differs. unread is of tenants that could not be read.
func (t *tree) drifted(cmd *cobra.Command, differences []migrator.Difference, unread error, check bool) error {
	views := []differenceView{}
	tenants := map[string]bool{}
	for _, d := range differences {
		views = append(views, differenceView{Tenant: d.Tenant.String(), Object: d.Object, Want: d.Want, Have: d.Have})
		tenants[d.Tenant.String()] = true
	}
	err := t.print(cmd, views, func(s *sheet) {
		if len(views) == 0 {
			s.line("no differences%s", choose(unread == nil, "", " in what could be read"))
			return
		}
		s.row("TENANT", "OBJECT", "WANT", "HAVE")
		for _, v := range views {
			s.row(v.Tenant, v.Object, missing(v.Want), missing(v.Have))
		}
	})
	switch {
	case err != nil:
	case unread != nil:
		err = failed("not all tenants could be read:\n%w", unread)
	case check && len(views) > 0:
		err = found("%s in %s", count(len(views), "difference"), count(len(tenants), "tenant"))
	}
	return err
}

// missing writes what is not there.
func missing(definition string) string { return choose(definition == "", "(none)", definition) }
