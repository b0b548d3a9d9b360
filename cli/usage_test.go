package cli_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/cli"
)

func TestAWrongCommandLineOpensNothingAndSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	app := cli.App{Name: "myservice", Open: func(context.Context) (*cli.Service, error) {
		t.Error("it was opened")
		return nil, errors.New("opened")
	}}
	for _, c := range []struct{ line, want string }{
		{"", "name a command: completion, doctor, exec, migrate, psql, tenants"},
		{"tenant", "did you mean tenants?"},
		{"tenants", "name a command: create, drop, hosts"},
		{"tenants lst", `there is no command "lst": did you mean list?`},
		{"tenants list acme", `an argument too many: "acme"`},
		{"tenants list -o yaml", "it is table or json"},
		{"tenants list --state gone", `"gone" is none of provisioning, active`},
		{"tenants list --label x", `"x" is not key=value`},
		{"tenants list --nothing", "unknown flag: --nothing"},
		{"tenants show", "TENANT is missing"},
		{"tenants show Acme", "invalid tenant id"},
		{"tenants create acme --kind table", `"table" is none of schema, database`},
		{"tenants create acme --label a=1 --label a=2", "a has two values"},
		{"tenants rename acme", "NAME is missing"},
		{"tenants repair", "name tenants, or give --all"},
		{"tenants repair acme --all", "name tenants, or give --all"},
		{"migrate sideways", `there is no command "sideways"`},
		{"migrate up acme", "an argument too many"},
		{"migrate up --first -1", "--first: -1 is less than 1"},
		{"migrate up --first 0", "--first: 0 is less than 1"},
		{"migrate up --stop-after -1", "--stop-after: -1 is less than 1"},
		{"migrate up --stop-after 0", "--stop-after: 0 is less than 1"},
		{"migrate rollback --to 1 --all --stop-after 0", "--stop-after: 0 is less than 1"},
		{"migrate up --canary -1", "--canary: -1 is less than 1"},
		{"migrate up --canary 0", "myservice: --canary: 0 is less than 1"},
		{"migrate up --concurrency 0", "--concurrency: 0 is less than 1"},
		{"migrate up --server-concurrency 0", "--server-concurrency: 0 is less than 1"},
		{"migrate up --canary-label x", `--canary-label`},
		{"migrate up --state active", `"active" is none of pending, running, current, failed`},
		{"migrate up --concurrency many", "it is a whole number from 1"},
		{"migrate to", "MIGRATION is missing"},
		{"migrate retry --state pending", "retry is for tenants that failed"},
		{"migrate rollback --all", "say what to go back to"},
		{"migrate rollback --to 1 --run 1 --all", "say what to go back to"},
		{"migrate rollback --to 1", "say which tenants"},
		{"migrate rollback --run 0 --all", "there is no run 0"},
		{"migrate rollback --to 1 --all --tenant acme", "exclude each other"},
		{"migrate drift", "--reference is missing"},
		{"migrate runs -n 0", "--last: 0 is less than 1"},
		{"migrate runs 0", `there is no run "0"`},
		{"migrate runs last", `there is no run "last"`},
		{"migrate runs 1 2", `an argument too many: "2"`},
		{"migrate runs 1 -n 3", "--last is for the list of runs"},
		{"psql", "TENANT is missing"},
		{"psql -- -c x", "TENANT is missing"},
		{"psql acme globex", "an argument too many"},
		{"psql acme -c select", "unknown shorthand flag: 'c' in -c: put psql's own arguments behind --"},
		{"completion foo", `there is no command "foo"`},
		{"completion", "name a command: bash, fish, powershell, zsh"},
		{"exec select", "say which tenants"},
		{"exec --all", "SQL is missing"},
		{"exec --all --first 2 select", "exclude each other"},
		{"exec --all --tenant acme select", "exclude each other"},
		{"exec --all --concurrency 0 select", "--concurrency: 0 is less than 1"},
		{"exec --all --read-only --no-transaction select", "exclude each other"},
		{"exec --state current select", `"current" is none of provisioning`},
	} {
		r := run(t, app, strings.Fields(c.line)...)
		if r.code != cli.ExitUsage || !strings.HasPrefix(r.err, "myservice: ") || !strings.Contains(r.err, c.want) || !strings.Contains(r.err, "--help'.\n") || r.out != "" {
			t.Errorf("%q: got %d, %q, output %q, want %q", c.line, r.code, r.err, r.out, c.want)
		}
	}
}

func TestHelpTellsTheExitCodesAndOpensNothing(t *testing.T) {
	t.Parallel()
	r := run(t, cli.App{Name: "myservice"}, "--help")
	r.mustEnd(t, cli.ExitOK)
	mustContain(t, r.out, "Administer the tenants of myservice", "130  interrupted", "completion")
	for _, line := range []string{"tenants drop --help", "migrate up --help", "exec --help", "psql --help", "completion bash"} {
		run(t, cli.App{Name: "myservice"}, strings.Fields(line)...).mustEnd(t, cli.ExitOK)
	}
}

func TestAnErrorIsPrintedOnceWithoutUsage(t *testing.T) {
	t.Parallel()
	app := cli.App{Name: "myservice", Open: func(context.Context) (*cli.Service, error) { return nil, errors.New("no \x1b[31mdatabase:\n\tgone") }}
	r := run(t, app, "tenants", "list")
	r.mustEnd(t, cli.ExitError)
	if want := "myservice: no \\x1b[31mdatabase:\n\tgone\n"; r.err != want {
		t.Errorf("got %q, want %q", r.err, want)
	}
}

func TestWhatTheApplicationDoesNotHaveIsAnError(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		line    string
		service *cli.Service
		want    string
	}{
		{"tenants list", nil, "App.Open has returned no Service"},
		{"tenants list", &cli.Service{}, "no catalog of tenants"},
		{"migrate status", &cli.Service{}, "no migrations"},
		{"exec --all select", &cli.Service{}, "Service.DB is nil"},
		{"psql acme", &cli.Service{}, "Service.DB is nil"},
	} {
		app := cli.App{Name: "myservice", Open: func(context.Context) (*cli.Service, error) { return c.service, nil }}
		run(t, app, strings.Fields(c.line)...).mustEnd(t, cli.ExitError, c.want)
	}
	run(t, cli.App{Name: "myservice"}, "tenants", "list").mustEnd(t, cli.ExitError, "App.Open is nil")
}

func TestTheServiceIsClosedAndItsErrorReported(t *testing.T) {
	t.Parallel()
	app := cli.App{Name: "myservice", Open: func(context.Context) (*cli.Service, error) {
		return &cli.Service{Close: func() error { return errors.New("it does not close") }}, nil
	}}
	run(t, app, "tenants", "list").mustEnd(t, cli.ExitError, "no catalog", "it does not close")
}

func TestAnInterruptedCommandSaysSo(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	app := cli.App{Name: "myservice", Open: func(ctx context.Context) (*cli.Service, error) {
		cancel()
		return nil, errors.New("cut off")
	}}
	runContext(ctx, app, "tenants", "list").mustEnd(t, cli.ExitInterrupted, "myservice: interrupted: cut off")
}

func TestAnApplicationCanTakeTheCommandsAlone(t *testing.T) {
	t.Parallel()
	root := &cobra.Command{Use: "shop"}
	root.AddCommand(cli.New(cli.App{Name: "shop"}).Commands()...)
	for _, c := range []struct{ line, want string }{
		{"tenants list -o yaml", "table or json"},
		{"tenants lst", "did you mean list?"},
	} {
		var errs strings.Builder
		root.SetArgs(strings.Fields(c.line))
		root.SetErr(&errs)
		if code := cli.Execute(t.Context(), root); code != cli.ExitUsage {
			t.Errorf("%s: got exit code %d", c.line, code)
		}
		mustContain(t, errs.String(), "shop: ", c.want)
	}
}
