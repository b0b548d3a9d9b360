package cli

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/migrator"
)

// target is what a rollback goes back to.
type target struct {
	to  string
	run int64
}

// rollback returns the command that undoes migrations.
func (t *tree) rollback() *cobra.Command {
	var r runFlags
	var back target
	var sure confirmation
	cmd := &cobra.Command{
		Use: "rollback {--to MIGRATION | --run N} {--all | selection}", Short: "Undo migrations",
		Args: wants(), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("to") == cmd.Flags().Changed("run") {
				return usage("say what to go back to: --to MIGRATION, or --run N")
			}
			if cmd.Flags().Changed("run") && back.run < 1 {
				return usage("--run: there is no run %d", back.run)
			}
			if err := r.demand(); err != nil {
				return err
			}
			return t.undo(cmd, &r, back, &sure)
		},
	}
	r.flags(t, cmd)
	r.allFlag(cmd)
	sure.flag(cmd)
	cmd.Flags().StringVar(&back.to, "to", "", "undo all that came after this `migration`, which stays")
	cmd.Flags().Int64Var(&back.run, "run", 0, "undo what run `n` has applied")
	r.stopFlag(cmd)
	_ = cmd.RegisterFlagCompletionFunc("run", t.complete(runIDs))
	_ = cmd.RegisterFlagCompletionFunc("to", cobra.NoFileCompletions)
	return cmd
}

// undo asks, and then undoes.
func (t *tree) undo(cmd *cobra.Command, r *runFlags, back target, sure *confirmation) error {
	opts, err := r.runOptions()
	if err != nil {
		return err
	}
	selected, err := r.parse()
	if err != nil {
		return err
	}
	return t.perform(cmd, r, func(m *migrator.Migrator) (migrator.Report, error) {
		statuses, err := m.Status(cmd.Context(), selected)
		if err != nil || len(statuses) == 0 {
			return migrator.Report{}, err
		}
		if err := sure.ask(cmd, back.question(statuses), "yes"); err != nil {
			return migrator.Report{}, err
		}
		if back.run > 0 {
			return m.RollbackRun(cmd.Context(), back.run, opts...)
		}
		return m.Rollback(cmd.Context(), back.to, opts...)
	})
}

// question says what will be lost, and by how many.
func (b target) question(statuses []migrator.Status) string {
	what := fmt.Sprintf("What run %d has applied", b.run)
	if b.run == 0 {
		what = "Everything after migration " + printable(b.to)
	}
	var at []string
	for _, s := range statuses {
		if s.Last != "" && !slices.Contains(at, s.Last) {
			at = append(at, s.Last)
		}
	}
	now := ""
	if len(at) > 0 {
		now = fmt.Sprintf(" (now at %s)", printable(commas(at)))
	}
	return fmt.Sprintf("%s will be undone for %s%s; what it has added is lost.", what, count(len(statuses), "tenant"), now)
}
