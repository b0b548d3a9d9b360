package cli

import (
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/migrator"
)

// defaultRuns is how many runs are listed.
const defaultRuns = 20

// runView is a run as JSON.
type runView struct {
	Run      int64             `json:"run"`
	Title    string            `json:"title"`
	State    migrator.RunState `json:"state"`
	By       string            `json:"by"`
	Started  time.Time         `json:"started"`
	Finished *time.Time        `json:"finished"` // null while it runs
	Tenants  int               `json:"tenants"`
	Done     int               `json:"done"`
	Failed   int               `json:"failed"`
}

// runs returns the command that lists the last runs, or shows one.
func (t *tree) runs() *cobra.Command {
	n := defaultRuns
	cmd := &cobra.Command{
		Use: "runs [RUN]", Short: "List the last runs, the newest first, or the tenants of one",
		Args: wantsAtMost(1), ValidArgsFunction: t.completeOne(runIDs),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return t.showRun(cmd, args[0])
			}
			return t.withMigrator(cmd.Context(), func(m *migrator.Migrator) error {
				runs, err := m.Runs(cmd.Context(), n)
				if err != nil {
					return err
				}
				return t.printRuns(cmd, runs)
			})
		},
	}
	countFlag(cmd, &n, "last", "n", "the last `n` of them")
	return cmd
}

func (t *tree) printRuns(cmd *cobra.Command, runs []migrator.RunInfo) error {
	views := []runView{}
	for _, r := range runs {
		v := runView{Run: r.ID, Title: r.Title, State: r.State, By: r.By, Started: r.Started.UTC(), Tenants: r.Tenants, Done: r.Done, Failed: r.Failed}
		if !r.Finished.IsZero() {
			finished := r.Finished.UTC()
			v.Finished = &finished
		}
		views = append(views, v)
	}
	return t.print(cmd, views, func(s *sheet) {
		s.row("RUN", "WHAT", "STATE", "STARTED", "TOOK", "TENANTS", "DONE", "FAILED", "BY")
		for _, v := range views {
			took := ""
			if v.Finished != nil {
				took = span(v.Finished.Sub(v.Started))
			}
			s.row(strconv.FormatInt(v.Run, 10), v.Title, string(v.State), moment(v.Started), took,
				strconv.Itoa(v.Tenants), strconv.Itoa(v.Done), strconv.Itoa(v.Failed), v.By)
		}
	})
}
