package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/scope"
)

// verify returns the command that compares the ledger with the tenants.
func (t *tree) verify() *cobra.Command {
	var sel selection
	var check bool
	cmd := &cobra.Command{
		Use: "verify", Short: "Compare the ledger with what the tenants' own tables say, and mend it",
		Args: wants(), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			selected, err := sel.parse()
			if err != nil {
				return err
			}
			return t.withMigrator(cmd.Context(), func(m *migrator.Migrator) error {
				found, err := m.Verify(cmd.Context(), selected)
				if !ofTenants(err) {
					return err
				}
				return t.verified(cmd, found, err, check)
			})
		},
	}
	sel.flags(t, cmd, ledgerStates())
	checkFlag(cmd, &check, "if the ledger was wrong")
	return cmd
}

// ofTenants reports whether err, which may be nil, is of single tenants, and the
// others are done.
func ofTenants(err error) bool {
	var one *scope.TenantError
	return err == nil || errors.As(err, &one)
}

// verificationView is a verification as JSON.
type verificationView struct {
	Checked int          `json:"checked"`
	Mended  []mendedView `json:"mended"`
}

type mendedView struct {
	Tenant  string   `json:"tenant"`
	Missing []string `json:"missing"` // applied, and the ledger did not know
	Extra   []string `json:"extra"`   // in the ledger, and not applied
}

// verified prints what was found. unread is of tenants that could not be read.
func (t *tree) verified(cmd *cobra.Command, got migrator.Verification, unread error, check bool) error {
	v := verificationView{Checked: got.Checked, Mended: []mendedView{}}
	for _, m := range got.Mended {
		v.Mended = append(v.Mended, mendedView{Tenant: m.Tenant.String(), Missing: list(m.Missing), Extra: list(m.Extra)})
	}
	if err := t.print(cmd, v, v.print); err != nil {
		return err
	}
	if unread != nil {
		return failed("not all tenants could be read:\n%w", unread)
	}
	if check && len(v.Mended) > 0 {
		return found("the ledger was wrong about %s", count(len(v.Mended), "tenant"))
	}
	return nil
}

func (v verificationView) print(s *sheet) {
	s.line("%s checked, the ledger was mended for %d", count(v.Checked, "tenant"), len(v.Mended))
	if len(v.Mended) == 0 {
		return
	}
	s.row("TENANT", "MISSING", "EXTRA")
	for _, m := range v.Mended {
		s.row(m.Tenant, commas(m.Missing), commas(m.Extra))
	}
}
