package cli

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/migrator"
)

// migrate returns the commands of the migrator.
func (t *tree) migrate() *cobra.Command {
	return t.outputFlag(group("migrate", "Bring the tenants' tables to a version, and look at where they are",
		t.up(), t.to(), t.retry(), t.rollback(), t.status(), t.plan(), t.verify(), t.drift(), t.runs()))
}

// runFlags are the flags of what changes tenants.
type runFlags struct {
	selection
	quiet             bool
	concurrency       int
	serverConcurrency int
	lockTimeout       time.Duration
	statementTimeout  time.Duration
	stopAfter         int
	canary            int
	canaryLabels      []string
	canaryTenants     []string
}

// flags gives cmd the flags that all runs have. What is not given is left to the
// application.
func (r *runFlags) flags(t *tree, cmd *cobra.Command) {
	r.selection.flags(t, cmd, ledgerStates())
	countFlag(cmd, &r.concurrency, "concurrency", "", "`n` tenants at a time (default: the application's)")
	countFlag(cmd, &r.serverConcurrency, "server-concurrency", "", "`n` tenants of one server at a time (default: the application's)")
	f := cmd.Flags()
	f.BoolVar(&r.quiet, "quiet", false, "show no progress")
	f.DurationVar(&r.lockTimeout, "lock-timeout", 0, "how long a statement waits for a lock; 0 is without end (default: the application's)")
	f.DurationVar(&r.statementTimeout, "statement-timeout", 0, "how long a statement may take; 0 is without end (default: the application's)")
}

// safetyFlags gives cmd the flags that end a run early.
func (r *runFlags) safetyFlags(t *tree, cmd *cobra.Command) {
	r.stopFlag(cmd)
	countFlag(cmd, &r.canary, "canary", "", "first the first `n` tenants, or n of the canaries; the rest only if all of them are well")
	f := cmd.Flags()
	f.StringArrayVar(&r.canaryLabels, "canary-label", nil, "canaries have this label, `key=value`; may be repeated")
	f.StringSliceVar(&r.canaryTenants, "canary-tenant", nil, "this `tenant` is a canary; may be repeated")
	_ = cmd.RegisterFlagCompletionFunc("canary-tenant", t.complete(tenantIDs))
}

func (r *runFlags) stopFlag(cmd *cobra.Command) {
	countFlag(cmd, &r.stopAfter, "stop-after", "", "begin no other tenant after `n` failures; those at work finish (default: go on to the end)")
}

// options returns the migrator's options for the flags that are given.
func (r *runFlags) options(cmd *cobra.Command) (opts []migrator.Option) {
	given := cmd.Flags().Changed
	if given("concurrency") {
		opts = append(opts, migrator.WithConcurrency(r.concurrency))
	}
	if given("server-concurrency") {
		opts = append(opts, migrator.WithServerConcurrency(r.serverConcurrency))
	}
	if given("lock-timeout") {
		opts = append(opts, migrator.WithLockTimeout(r.lockTimeout))
	}
	if given("statement-timeout") {
		opts = append(opts, migrator.WithStatementTimeout(r.statementTimeout))
	}
	return opts
}

// runOptions returns the options of the run.
func (r *runFlags) runOptions() (opts []migrator.RunOption, err error) {
	selected, err := r.parse()
	if err != nil {
		return nil, err
	}
	opts = append(opts, migrator.Only(selected))
	canaries, err := r.canaries()
	if err != nil {
		return nil, err
	}
	opts = append(opts, canaries...)
	if r.stopAfter > 0 {
		opts = append(opts, migrator.StopAfter(r.stopAfter))
	}
	return opts, nil
}

// canaries returns the option for the flags of canaries, none if none is given.
func (r *runFlags) canaries() ([]migrator.RunOption, error) {
	ids, err := parseTenants(r.canaryTenants)
	if err != nil {
		return nil, err
	}
	labels, err := parseLabels("--canary-label", r.canaryLabels)
	if err != nil || len(ids)+len(labels)+r.canary == 0 {
		return nil, err
	}
	return []migrator.RunOption{migrator.Canary(migrator.Selection{IDs: ids, Labels: labels, First: r.canary})}, nil
}

// perform lets f change tenants, shows how it goes on, and prints what has
// become of it.
func (t *tree) perform(cmd *cobra.Command, r *runFlags, f func(*migrator.Migrator) (migrator.Report, error)) error {
	opts := r.options(cmd)
	p := newProgress(cmd.ErrOrStderr())
	if !r.quiet {
		opts = append(opts, migrator.WithProgress(p.show))
	}
	return t.withMigrator(cmd.Context(), func(m *migrator.Migrator) error {
		report, err := f(m)
		p.end()
		return t.finish(cmd, &r.selection, report, err)
	}, opts...)
}
