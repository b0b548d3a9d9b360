package cli

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/scope"
)

// status returns the command that says where tenants are.
func (t *tree) status() *cobra.Command {
	var sel selection
	var every, check bool
	cmd := &cobra.Command{
		Use: "status", Short: "Count the tenants by state, and list those that are not current",
		Args: wants(), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			selected, err := sel.parse()
			if err != nil {
				return err
			}
			return t.withMigrator(cmd.Context(), func(m *migrator.Migrator) error {
				statuses, err := m.Status(cmd.Context(), selected)
				if err != nil {
					return err
				}
				if err := sel.nobody(len(statuses)); err != nil {
					return err
				}
				shared, err := m.SharedStatus(cmd.Context())
				if err != nil {
					return err
				}
				v := viewStatus(statuses, every)
				v.Shared = viewShared(shared)
				if err := t.print(cmd, v, v.print); err != nil {
					return err
				}
				if behind := v.behind(); check && behind != "" {
					return found("%s not current", behind)
				}
				return nil
			})
		},
	}
	sel.flags(t, cmd, ledgerStates())
	cmd.Flags().BoolVar(&every, "all-tenants", false, "list the current ones, too")
	checkFlag(cmd, &check, "unless all are current")
	return cmd
}

// checkFlag gives cmd --check.
func checkFlag(cmd *cobra.Command, check *bool, when string) {
	cmd.Flags().BoolVar(check, "check", false, "end with exit code "+strconv.Itoa(ExitFound)+" "+when)
}

// statusView is where tenants are, as JSON.
type statusView struct {
	Shared  *sharedStatusView      `json:"shared"` // null if there are no migrations for shared tables
	Counts  map[migrator.State]int `json:"counts"` // of all that are selected
	Tenants []tenantStatusView     `json:"tenants"`
}

// total returns how many tenants are selected.
func (v statusView) total() int {
	n := 0
	for _, c := range v.Counts {
		n += c
	}
	return n
}

// behind says who is not current, with its verb; "" if all are.
func (v statusView) behind() string {
	n := v.total() - v.Counts[migrator.Current]
	switch shared := v.Shared != nil && len(v.Shared.Pending) > 0; {
	case shared && n > 0:
		return "the shared tables and " + count(n, "tenant") + " are"
	case shared:
		return "the shared tables are"
	case n > 0:
		return count(n, "tenant") + choose(n == 1, " is", " are")
	}
	return ""
}

// sharedStatusView is where the shared tables are, as JSON.
type sharedStatusView struct {
	Applied []string `json:"applied"`
	Pending []string `json:"pending"`
	Unknown []string `json:"unknown"`
}

// viewShared returns nil if there are no migrations for shared tables.
func viewShared(s migrator.SharedStatus) *sharedStatusView {
	if len(s.Applied)+len(s.Pending) == 0 {
		return nil
	}
	return &sharedStatusView{Applied: list(s.Applied), Pending: list(s.Pending), Unknown: list(s.Unknown)}
}

// print prints a line.
func (v *sharedStatusView) print(s *sheet) {
	text := strconv.Itoa(len(v.Applied)) + " applied"
	for _, part := range []struct {
		what string
		ids  []string
	}{{"last ", v.Applied[max(0, len(v.Applied)-1):]}, {"pending ", v.Pending}, {"unknown ", v.Unknown}} {
		if len(part.ids) > 0 {
			text += ", " + part.what + commas(part.ids)
		}
	}
	s.line("shared tables: %s", text)
}

type tenantStatusView struct {
	Tenant   string            `json:"tenant"`
	Server   string            `json:"server"`
	State    migrator.State    `json:"state"`
	Since    *time.Time        `json:"since"` // null if nothing is known of it yet
	Last     string            `json:"last"`
	Applied  int               `json:"applied"`
	Pending  []string          `json:"pending"`
	Unknown  []string          `json:"unknown"`
	Attempts int               `json:"attempts"`
	Run      int64             `json:"run"`
	Failure  *migrator.Failure `json:"failure"`

	id scope.Tenant
}

// viewStatus keeps the tenants that are not wholly current, or every one.
func viewStatus(statuses []migrator.Status, every bool) statusView {
	v := statusView{Counts: map[migrator.State]int{migrator.Pending: 0, migrator.Running: 0, migrator.Current: 0, migrator.Failed: 0}, Tenants: []tenantStatusView{}}
	for _, s := range statuses {
		v.Counts[s.State]++
		if every || s.State != migrator.Current || len(s.Unknown) > 0 {
			v.Tenants = append(v.Tenants, viewTenantStatus(s))
		}
	}
	return v
}

func viewTenantStatus(s migrator.Status) tenantStatusView {
	v := tenantStatusView{
		Tenant: s.Tenant.ID.String(), Server: s.Tenant.Server, State: s.State, Last: s.Last, Applied: s.Applied,
		Pending: list(s.Pending), Unknown: list(s.Unknown), Attempts: s.Attempts, Run: s.Run, Failure: s.Failure, id: s.Tenant.ID,
	}
	if !s.Since.IsZero() {
		since := s.Since.UTC()
		v.Since = &since
	}
	return v
}

func (v statusView) print(s *sheet) {
	if v.Shared != nil {
		v.Shared.print(s)
	}
	var counts []string
	for _, state := range []migrator.State{migrator.Current, migrator.Pending, migrator.Running, migrator.Failed} {
		counts = append(counts, strconv.Itoa(v.Counts[state])+" "+string(state))
	}
	s.line("%s: %s", count(v.total(), "tenant"), strings.Join(counts, ", "))
	if len(v.Tenants) == 0 {
		return
	}
	unknown := slices.ContainsFunc(v.Tenants, func(t tenantStatusView) bool { return len(t.Unknown) > 0 })
	s.row(statusRow(unknown, "TENANT", "STATE", "SINCE", "LAST", "PENDING", "UNKNOWN", "ATTEMPTS", "RUN", "ERROR")...)
	for _, t := range v.Tenants {
		t.print(s, unknown)
	}
}

// statusRow leaves the column of unknown migrations out if no tenant has any: it is
// for programs that are older than the database.
func statusRow(unknown bool, cells ...string) []string {
	const column = 5
	if unknown {
		return cells
	}
	return slices.Delete(cells, column, column+1)
}

// print prints a row, and below its error what else PostgreSQL had to say.
func (v tenantStatusView) print(s *sheet, unknown bool) {
	since, failure := "", ""
	if v.Since != nil {
		since = moment(*v.Since)
	}
	if v.Failure != nil {
		failure = reason(v.id, v.Failure.Message)
	}
	row := statusRow(unknown, v.Tenant, string(v.State), since, v.Last, strconv.Itoa(len(v.Pending)), commas(v.Unknown),
		strconv.Itoa(v.Attempts), strconv.FormatInt(v.Run, 10), failure)
	s.row(row...)
	printNotes(s, len(row), v.Failure)
}

// printNotes prints, below the last of the columns, what else PostgreSQL had to say.
func printNotes(s *sheet, columns int, f *migrator.Failure) {
	if f == nil {
		return
	}
	note(s, columns, "DETAIL", f.Detail)
	note(s, columns, "HINT", f.Hint)
}

// note prints a text in the last of the columns.
func note(s *sheet, columns int, what, text string) {
	if text == "" {
		return
	}
	row := make([]string, columns)
	row[columns-1] = what + ": " + oneLine(text)
	s.row(row...)
}

func commas(texts []string) string { return strings.Join(texts, ", ") }
