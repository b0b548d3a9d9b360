package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/doctor"
)

const doctorLong = `Look at the service as it runs, and say what is wrong with it, why that matters and
how to mend it. It connects as the application does, and changes nothing.

The exit code is 4 if there is a warning or a problem, 0 if there is nothing, or
only what is good to know, and 1 if something could not be measured.`

// findingView is a finding as JSON.
type findingView struct {
	ID       string          `json:"id"`
	Severity doctor.Severity `json:"severity"`
	What     string          `json:"what"`
	Why      string          `json:"why"`
	How      string          `json:"how"`
}

// doctor returns the command that examines the service.
func (t *tree) doctor() *cobra.Command {
	processes, budget := 1, 0
	var prefix string
	var accepted []string
	cmd := &cobra.Command{
		Use: "doctor", Short: "Look for what is wrong with the service, and say how to mend it", Long: doctorLong,
		Args: wants(), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, id := range accepted {
				if !slices.Contains(doctor.IDs(), id) {
					return usage("--accept: there is no finding %q: the ids are %s", id, strings.Join(doctor.IDs(), ", "))
				}
			}
			opts := []doctor.Option{doctor.WithProcesses(processes), doctor.WithAccepted(accepted...)}
			if budget > 0 {
				opts = append(opts, doctor.WithBudget(budget))
			}
			if prefix != "" {
				opts = append(opts, doctor.WithSchemaPrefix(prefix))
			}
			return t.with(cmd.Context(), func(s *Service) error { return t.examine(cmd, s, opts) })
		},
	}
	countFlag(cmd, &processes, "processes", "", "how many processes of the service run at a `time`")
	countFlag(cmd, &budget, "budget", "", "the most connections of one process to tenants' databases on the main server, if plugin.WithBudget was given a `number`")
	cmd.Flags().StringVar(&prefix, "schema-prefix", "", "how names of tenants' schemas begin that no catalog has made (default tenant_)")
	cmd.Flags().StringSliceVar(&accepted, "accept", nil, "tell findings with this `id`, and let them pass; may be repeated")
	_ = cmd.RegisterFlagCompletionFunc("accept", cobra.FixedCompletions(doctor.IDs(), cobra.ShellCompDirectiveNoFileComp))
	return t.outputFlag(cmd)
}

// examine prints what the doctor finds. What could not be measured is an error, and
// is told behind what was found.
func (t *tree) examine(cmd *cobra.Command, s *Service, opts []doctor.Option) error {
	db, err := s.db()
	if err != nil {
		return err
	}
	if s.Tenants != nil {
		opts = append(opts, doctor.WithCatalog(s.Tenants))
	}
	findings, incomplete := doctor.Examine(cmd.Context(), db, opts...)
	if err := t.printFindings(cmd, findings, incomplete); err != nil {
		return err
	}
	if incomplete != nil {
		return incomplete
	}
	bad := 0
	for _, f := range findings {
		if f.Severity > doctor.Info {
			bad++
		}
	}
	if bad > 0 {
		return found("%s", count(bad, "finding")+" to mend")
	}
	return nil
}

// printFindings says that all is well only if all was measured.
func (t *tree) printFindings(cmd *cobra.Command, findings []doctor.Finding, incomplete error) error {
	views := make([]findingView, len(findings))
	for i, f := range findings {
		views[i] = findingView(f)
	}
	return t.print(cmd, views, func(s *sheet) {
		for i, v := range views {
			if i > 0 {
				s.line("")
			}
			s.line("%s  %s", v.Severity, v.ID)
			s.row("  what", v.What)
			s.row("  why", v.Why)
			s.row("  how", v.How)
		}
		if incomplete == nil && doctor.Worst(findings) == doctor.Info {
			s.line("\nnothing has to be mended")
		}
	})
}
