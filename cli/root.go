package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// tree makes the commands of one application.
type tree struct {
	app    App
	output format // what -o says
}

const rootLong = `Administer the tenants of %s.

Exit codes:
  0    done
  1    an error
  2    the command line is wrong
  3    some of several tenants failed, or are not done
  4    with --check: something was found
  5    not confirmed: answer, or give --yes
  130  interrupted`

// New returns the root of a command tree: tenants, migrate, psql, exec. Run it with
// [Execute]. An application with a root of its own adds the children to it:
//
//	root.AddCommand(cli.New(app).Commands()...)
//
// Each call makes a new tree, which is good for one command line.
func New(app App) *cobra.Command {
	t := &tree{app: app, output: asTable}
	psql := t.psql()
	root := group(app.Name, "Administer tenants", t.tenants(), t.migrate(), psql, t.exec(), t.doctor())
	root.Long = fmt.Sprintf(rootLong, app.Name)
	silence(root)
	psql.SetFlagErrorFunc(psqlFlagError)
	return root
}

// silence keeps cobra from printing the whole usage below each error.
func silence(cmd *cobra.Command) {
	cmd.SilenceUsage = true
	cmd.SetFlagErrorFunc(flagError)
	for _, child := range cmd.Commands() {
		silence(child)
	}
}

// flagError makes what is wrong with a flag an error in the command line.
func flagError(_ *cobra.Command, err error) error {
	var low *tooLow
	if errors.As(err, &low) {
		return usage("%w", low)
	}
	return usage("%w", err)
}

// completion makes cobra's own command like the others: what it does not know is an
// error, where cobra would print the help and succeed.
func completion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "completion" && !cmd.Runnable() {
			cmd.Args, cmd.RunE, cmd.SilenceUsage = cobra.ArbitraryArgs, needsCommand, true
		}
	}
}

// group returns a command that only holds others. By itself it is an error, which
// cobra would take for a question for help, and for success.
func group(use, short string, children ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs, RunE: needsCommand}
	cmd.AddCommand(children...)
	return cmd
}

func needsCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		var names []string
		for _, child := range cmd.Commands() {
			if child.IsAvailableCommand() {
				names = append(names, child.Name())
			}
		}
		return usage("name a command: %s", strings.Join(names, ", "))
	}
	cmd.SuggestionsMinimumDistance = 2
	text := fmt.Sprintf("there is no command %q", args[0])
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		text += ": did you mean " + strings.Join(near, " or ") + "?"
	}
	return usage("%s", text)
}

// wants returns a check for arguments of these names, all of them required.
func wants(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return usage("%s is missing", names[len(args)])
		}
		return wantsAtMost(len(names))(cmd, args)
	}
}

// wantsAtMost returns a check for up to n arguments, none of them required.
func wantsAtMost(n int) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > n {
			return usage("there is an argument too many: %q", args[n])
		}
		return nil
	}
}
