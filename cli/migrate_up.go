package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/migrator"
)

const upLong = `Apply what is missing, to all tenants or to those that are selected. To stop at a
migration that is not the last, see 'migrate to MIGRATION'.

Ctrl-C stops in an orderly way: a tenant is either wholly at a migration or not.
The next call goes on with what is not done.`

// up returns the command that brings tenants to the newest version.
func (t *tree) up() *cobra.Command {
	var r runFlags
	cmd := &cobra.Command{
		Use: "up", Short: "Apply what is missing", Long: upLong,
		Args: wants(), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error { return t.apply(cmd, &r) },
	}
	r.flags(t, cmd)
	r.safetyFlags(t, cmd)
	return cmd
}

// to returns the command that stops at a migration.
func (t *tree) to() *cobra.Command {
	var r runFlags
	cmd := &cobra.Command{
		Use: "to MIGRATION", Short: "Apply what is missing up to a migration, and no more",
		Args: wants("MIGRATION"), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error { return t.apply(cmd, &r, migrator.To(args[0])) },
	}
	r.flags(t, cmd)
	r.safetyFlags(t, cmd)
	return cmd
}

// retry returns the command that tries those again that failed.
func (t *tree) retry() *cobra.Command {
	var r runFlags
	cmd := &cobra.Command{
		Use: "retry", Short: "Try tenants again that failed",
		Args: wants(), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(r.states) > 0 {
				return usage("--state: retry is for tenants that failed")
			}
			r.states = texts(migrator.Failed)
			return t.apply(cmd, &r)
		},
	}
	r.flags(t, cmd)
	r.safetyFlags(t, cmd)
	_ = cmd.Flags().MarkHidden("state")
	return cmd
}

// apply runs what is missing.
func (t *tree) apply(cmd *cobra.Command, r *runFlags, more ...migrator.RunOption) error {
	opts, err := r.runOptions()
	if err != nil {
		return err
	}
	return t.perform(cmd, r, func(m *migrator.Migrator) (migrator.Report, error) {
		return m.Run(cmd.Context(), append(opts, more...)...)
	})
}

// resultView is what a run has done for a tenant, as JSON.
type resultView struct {
	Tenant     string         `json:"tenant"`
	State      migrator.State `json:"state"`
	Applied    []string       `json:"applied"`
	RolledBack []string       `json:"rolled_back"`
	Attempts   int            `json:"attempts"`
	DurationMS int64          `json:"duration_ms"`
	Error      string         `json:"error,omitempty"`
}

// reportView is what a run has done, as JSON.
type reportView struct {
	Run     int64        `json:"run"` // 0 if there was nothing to do
	Shared  []string     `json:"shared"`
	Current int          `json:"current"`
	Failed  int          `json:"failed"`
	NotDone int          `json:"not_done"`
	Results []resultView `json:"results"`

	idle string // what to say if there was nothing to do; "" is nothing
}

func viewReport(report migrator.Report) reportView {
	v := reportView{Run: report.Run, Shared: list(report.Shared), Current: report.Count(migrator.Current), Failed: report.Count(migrator.Failed), Results: []resultView{}}
	v.NotDone = len(report.Results) - v.Current - v.Failed
	for _, r := range report.Results {
		result := resultView{
			Tenant: r.Tenant.String(), State: r.State, Applied: list(r.Applied), RolledBack: list(r.RolledBack),
			Attempts: r.Attempts, DurationMS: r.Duration.Milliseconds(),
		}
		if r.Err != nil {
			result.Error = r.Err.Error()
		}
		v.Results = append(v.Results, result)
	}
	return v
}

// finish prints the report of a run that has begun, and returns its error.
func (t *tree) finish(cmd *cobra.Command, sel *selection, report migrator.Report, err error) error {
	var run *migrator.RunError
	if err != nil && !errors.As(err, &run) {
		return err // nothing was begun
	}
	if err == nil {
		err = sel.nobody(len(report.Results))
	}
	v := viewReport(report)
	if err == nil {
		v.idle = sel.idle(len(v.Results))
	}
	return errors.Join(t.print(cmd, v, v.print), err)
}

// print prints how many tenants are where. Who failed, and why, is in the error.
func (v reportView) print(s *sheet) {
	if len(v.Shared) > 0 {
		s.line("shared tables: %s", commas(v.Shared))
	}
	changed := 0
	for _, r := range v.Results {
		if len(r.Applied)+len(r.RolledBack) > 0 {
			changed++
		}
	}
	if v.Run == 0 {
		if v.idle != "" {
			s.line("%s", v.idle)
		}
		return
	}
	s.line("run %d: %s: %d current (%d changed by this call), %d failed, %d not done",
		v.Run, count(len(v.Results), "tenant"), v.Current, changed, v.Failed, v.NotDone)
}
