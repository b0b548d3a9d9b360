package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/scope"
)

// plan returns the command that says what up would do.
func (t *tree) plan() *cobra.Command {
	var r runFlags
	var to string
	var sql, check bool
	cmd := &cobra.Command{
		Use: "plan", Short: "Say what up would do, and change nothing",
		Args: wants(), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts, err := r.runOptions()
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("to") {
				opts = append(opts, migrator.To(to))
			}
			return t.withMigrator(cmd.Context(), func(m *migrator.Migrator) error {
				ask := m.Plan
				if sql {
					ask = m.PlanSQL
				}
				p, err := ask(cmd.Context(), opts...)
				v := viewPlan(p)
				if err != nil && v.failed() == 0 {
					return err
				}
				if err := r.nobody(v.selected()); err != nil {
					return err
				}
				if v.Current > 0 || len(v.Shared)+len(v.Groups) == 0 {
					v.idle = r.idle(v.Current)
				}
				if err := t.print(cmd, v, v.print); err != nil {
					return err
				}
				if err != nil {
					return failed("the rehearsal of %s has failed", count(v.failed(), "group"))
				}
				if check && len(v.Shared)+len(v.Groups) > 0 {
					return found("there is something to do")
				}
				return nil
			})
		},
	}
	r.selection.flags(t, cmd, ledgerStates())
	cmd.Flags().StringVar(&to, "to", "", "what would be done up to this `migration`")
	cmd.Flags().BoolVar(&sql, "sql", false, "show the SQL, of one tenant of each group")
	checkFlag(cmd, &check, "if there is something to do")
	_ = cmd.RegisterFlagCompletionFunc("to", cobra.NoFileCompletions)
	return cmd
}

// planView is a plan as JSON.
type planView struct {
	Shared  []string    `json:"shared"`
	Current int         `json:"current"`
	Groups  []groupView `json:"groups"`

	idle string // what to say of those that have nothing to do; "" is nothing
}

// selected returns how many tenants the plan is for.
func (v planView) selected() int {
	n := v.Current
	for _, g := range v.Groups {
		n += len(g.Tenants)
	}
	return n
}

// failed returns how many groups have failed in the rehearsal.
func (v planView) failed() int {
	n := 0
	for _, g := range v.Groups {
		if g.Error != "" {
			n++
		}
	}
	return n
}

type groupView struct {
	Migrations []string        `json:"migrations"`
	Tenants    []scope.Tenant  `json:"tenants"`
	SQL        []statementView `json:"sql,omitempty"`
	Error      string          `json:"error,omitempty"` // of the first tenant, in place of its SQL
}

type statementView struct {
	Migration string `json:"migration"`
	SQL       string `json:"sql"`
}

func viewPlan(p migrator.Plan) planView {
	v := planView{Shared: list(p.Shared), Current: p.Current, Groups: []groupView{}}
	for _, g := range p.Groups {
		group := groupView{Migrations: list(g.Migrations), Tenants: list(g.Tenants)}
		for _, s := range g.SQL {
			group.SQL = append(group.SQL, statementView(s))
		}
		if g.Err != nil {
			group.Error = g.Err.Error()
		}
		v.Groups = append(v.Groups, group)
	}
	return v
}

func (v planView) print(s *sheet) {
	if len(v.Shared) > 0 {
		s.line("shared tables: %s", commas(v.Shared))
	}
	for _, g := range v.Groups {
		s.line("%s: %s", count(len(g.Tenants), "tenant"), commas(g.Migrations))
		s.line("  %s", someTenants(g.Tenants))
		g.printSQL(s)
	}
	if v.idle != "" {
		s.line("%s", v.idle)
	}
}

// printSQL prints the SQL, or of which tenant there is none, and why.
func (g groupView) printSQL(s *sheet) {
	if g.Error != "" {
		s.line("  -- %s failed: %s", g.Tenants[0], reason(g.Tenants[0], g.Error))
	}
	last := ""
	for i, statement := range g.SQL {
		if i == 0 || statement.Migration != last {
			s.line("  -- %s", statement.Migration)
			last = statement.Migration
		}
		if strings.HasPrefix(statement.SQL, "--") { // what can't be known
			s.line("  %s", statement.SQL)
			continue
		}
		s.line("  %s;", strings.TrimRight(statement.SQL, "; \n"))
	}
}

// someTenants names the first few.
func someTenants(tenants []scope.Tenant) string {
	const named = 10
	names := make([]string, 0, named)
	for _, t := range tenants[:min(named, len(tenants))] {
		names = append(names, t.String())
	}
	text := commas(names)
	if more := len(tenants) - named; more > 0 {
		text += " and " + count(more, "other")
	}
	return text
}
