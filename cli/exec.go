package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/scope"
)

// defaultAtOnce is for how many tenants exec works at a time.
const defaultAtOnce = 4

const execLong = `Run one SQL text for each selected tenant, as the application would, and print
what each of them answers. A tenant's failure does not stop the others.

The text runs in one transaction per tenant. If it has several statements, the
last one's answer is printed. What can't run in a transaction, such as VACUUM or
CREATE INDEX CONCURRENTLY, takes --no-transaction, which prints no rows.`

// execution is one call of exec.
type execution struct {
	selection
	sql           string
	atOnce        int
	readOnly      bool
	noTransaction bool
	timeout       time.Duration // for each tenant; 0 is none
}

// exec returns the command that runs SQL for tenants.
func (t *tree) exec() *cobra.Command {
	e := execution{atOnce: defaultAtOnce}
	cmd := &cobra.Command{
		Use: "exec {--all | selection} SQL", Short: "Run SQL for tenants", Long: execLong,
		Example: "  exec --all --read-only 'select count(*) from invoices'\n  exec --tenant acme -o json 'select * from invoices'",
		Args:    wants("SQL"), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			e.sql = args[0]
			if err := e.check(); err != nil {
				return err
			}
			return t.execute(cmd, &e)
		},
	}
	e.flags(t, cmd, catalogStates())
	e.allFlag(cmd)
	countFlag(cmd, &e.atOnce, "concurrency", "", "`n` tenants at a time")
	f := cmd.Flags()
	f.BoolVar(&e.readOnly, "read-only", false, "let the server refuse whatever would change something")
	f.BoolVar(&e.noTransaction, "no-transaction", false, "run outside of a transaction, and print no rows")
	f.DurationVar(&e.timeout, "timeout", 0, "how long it may take for a tenant; 0 is without end")
	return t.outputFlag(cmd)
}

func (e *execution) check() error {
	switch {
	case e.sql == "":
		return usage("SQL is empty")
	case e.timeout < 0:
		return usage("--timeout: %s is less than 0", e.timeout)
	case e.readOnly && e.noTransaction:
		return usage("--read-only and --no-transaction exclude each other")
	}
	return e.demand()
}

// execute runs the SQL and prints what came of it.
func (t *tree) execute(cmd *cobra.Command, e *execution) error {
	find, err := e.finder()
	if err != nil {
		return err
	}
	return t.with(cmd.Context(), func(s *Service) error {
		db, err := s.db()
		if err != nil {
			return err
		}
		tenants, err := find(cmd.Context(), s)
		if err != nil {
			return err
		}
		answers := e.runAll(cmd.Context(), db, tenants)
		if err := t.print(cmd, answers, func(s *sheet) { printAnswers(s, answers) }); err != nil {
			return err
		}
		return failures(answers)
	})
}

// failures returns nil if all tenants have answered.
func failures(answers []answer) error {
	bad := 0
	for _, a := range answers {
		if a.Error != "" {
			bad++
		}
	}
	if bad == 0 {
		return nil
	}
	return failed("%d of %s failed", bad, count(len(answers), "tenant"))
}

// printAnswers prints a row for each row of each tenant, and the names of the
// columns where they change.
func printAnswers(s *sheet, answers []answer) {
	header := ""
	for _, a := range answers {
		if a.Columns == nil {
			s.row(a.Tenant.String(), a.summary())
			continue
		}
		if h := fmt.Sprintf("%q", a.Columns); h != header {
			s.flush() // columns of others don't widen these
			header = h
			s.row(append([]string{"TENANT"}, a.Columns...)...)
		}
		if len(a.text) == 0 {
			s.row(a.Tenant.String(), "(0 rows)")
		}
		for _, row := range a.text {
			s.row(append([]string{a.Tenant.String()}, row...)...)
		}
	}
}

// summary says what came of it where there are no rows.
func (a answer) summary() string {
	if a.Error != "" {
		return "error: " + oneLine(a.Error)
	}
	return a.Command
}

// context returns the context for one tenant.
func (e *execution) context(ctx context.Context, t scope.Tenant) (context.Context, context.CancelFunc) {
	ctx = scope.With(ctx, t)
	if e.timeout == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, e.timeout)
}
