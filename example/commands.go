package main

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/cli"
	"github.com/tenantry/tenantry/internal/pgserver"
)

// errPrivate says that psql would outlive the server.
var errPrivate = errors.New("the private PostgreSQL ends with this process, which psql takes the place of: name a database with --dsn")

// program is the service, or, if args begin with one of them, a command that
// administers it. It returns the exit code.
func program(ctx context.Context, args []string, out, errs io.Writer) int {
	root := commands(errs)
	if !isCommand(root, args) {
		return report(run(ctx, args, out), errs)
	}
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errs)
	return cli.Execute(ctx, root)
}

// commands returns the commands, which tell errs what they do before.
func commands(errs io.Writer) *cobra.Command {
	var s settings
	root := cli.New(cli.App{Name: "example", Open: func(ctx context.Context) (*cli.Service, error) { return s.service(ctx, newProgress(errs)) }})
	root.PersistentFlags().StringVar(&s.dsn, "dsn", "", "use the database of this `connection` string; without it, a private\nPostgreSQL with the two customers of the demonstration, which ends with the command")
	root.PersistentFlags().StringVar(&s.servingDSN, "serving-dsn", "", "with --dsn: the `connection` string of the login that serves, if that is\nanother one")
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if err := s.checkLogins(); err != nil {
			return err
		}
		if cmd.Name() == "psql" && s.private() {
			return errPrivate
		}
		return nil
	}
	return root
}

// isCommand reports whether args are for root, and not flags of the service.
func isCommand(root *cobra.Command, args []string) bool {
	if len(args) == 0 {
		return false
	}
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd(args...)
	cmd, _, err := root.Find(args[:1])
	return err == nil && cmd != root || args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd
}

// private reports whether the server is one that ends with this process.
func (s *settings) private() bool { return s.dsn == "" && os.Getenv(pgserver.EnvDSN) == "" }

// service opens what commands work on.
func (s *settings) service(ctx context.Context, p *progress) (service *cli.Service, err error) {
	keys, err := s.keys()
	if err != nil {
		return nil, err
	}
	logins, stop, err := s.server(ctx, p)
	if err != nil {
		return nil, err
	}
	b, err := open(ctx, logins, keys)
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	service = b.service(stop)
	if s.dsn == "" {
		if err := b.populate(ctx, p); err != nil {
			return nil, errors.Join(err, service.Close())
		}
	}
	return service, nil
}

// service returns what commands need of b. Its Close ends with stop.
func (b *backend) service(stop func() error) *cli.Service {
	return &cli.Service{
		DB:       b.db,
		Tenants:  b.tenants,
		Migrator: b.migrator,
		Close:    func() error { return errors.Join(b.close(), stop()) },
	}
}

// populate signs the customers of the demonstration up, unless they are there.
func (b *backend) populate(ctx context.Context, p *progress) error {
	if err := b.prepare(ctx, p); err != nil {
		return err
	}
	for _, in := range customers() {
		tenant, err := b.signUp(ctx, in)
		if errors.Is(err, catalog.ErrTaken) {
			continue
		}
		if err == nil {
			err = seed(ctx, b.db, tenant.ID, p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
