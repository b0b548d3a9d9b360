package cli

import (
	"errors"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/scope"
)

// runResultView is what a run has done for a tenant, by the ledger, as JSON.
type runResultView struct {
	Tenant     scope.Tenant      `json:"tenant"`
	State      migrator.State    `json:"state"`
	Applied    []string          `json:"applied"`
	RolledBack []string          `json:"rolled_back"`
	DurationMS int64             `json:"duration_ms"`
	Failure    *migrator.Failure `json:"failure"` // null also if a later run has had the tenant
}

// showRun prints what a run has done for each of its tenants.
func (t *tree) showRun(cmd *cobra.Command, id string) error {
	run, err := strconv.ParseInt(id, 10, 64)
	switch {
	case err != nil || run < 1:
		return usage("there is no run %q", id)
	case cmd.Flags().Changed("last"):
		return usage("--last is for the list of runs")
	}
	return t.withMigrator(cmd.Context(), func(m *migrator.Migrator) error {
		results, err := m.RunResults(cmd.Context(), run)
		if err != nil {
			return err
		}
		return t.printRun(cmd, results)
	})
}

func (t *tree) printRun(cmd *cobra.Command, results []migrator.Result) error {
	views := []runResultView{}
	for _, r := range results {
		v := runResultView{Tenant: r.Tenant, State: r.State, Applied: list(r.Applied), RolledBack: list(r.RolledBack), DurationMS: r.Duration.Milliseconds()}
		_ = errors.As(r.Err, &v.Failure)
		views = append(views, v)
	}
	return t.print(cmd, views, func(s *sheet) {
		s.row("TENANT", "STATE", "APPLIED", "ROLLED BACK", "TOOK", "ERROR")
		for i, v := range views {
			v.print(s, results[i])
		}
	})
}

// print prints a row, and below its error what else PostgreSQL had to say.
func (v runResultView) print(s *sheet, r migrator.Result) {
	took, failure := "", ""
	if r.Duration > 0 {
		took = span(r.Duration)
	}
	if v.Failure != nil {
		failure = reason(v.Tenant, v.Failure.Message)
	}
	row := []string{v.Tenant.String(), string(v.State), commas(v.Applied), commas(v.RolledBack), took, failure}
	s.row(row...)
	printNotes(s, len(row), v.Failure)
}
