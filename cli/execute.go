package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/migrator"
)

// The exit codes of the commands.
const (
	ExitOK           = 0
	ExitError        = 1   // an error
	ExitUsage        = 2   // the command line is wrong; nothing was done
	ExitTenants      = 3   // some of several tenants failed, or are not done
	ExitFound        = 4   // with --check: something was found
	ExitNotConfirmed = 5   // a confirmation was needed and not given; nothing was done
	ExitInterrupted  = 130 // ctx has ended
)

// Execute runs the command line of the process on root, which [New] has returned
// or which has its children, and returns the exit code. It prints the error, once,
// to root's standard error, and nothing else.
//
// When ctx is cancelled, the command ends in an orderly way: let it end at
// Ctrl-C, and the process end at once at a second one:
//
//	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
//	context.AfterFunc(ctx, stop)
//	os.Exit(cli.Execute(ctx, root))
func Execute(ctx context.Context, root *cobra.Command) int {
	root = root.Root()
	root.SilenceErrors = true
	completion(root)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil {
		out := root.ErrOrStderr()
		_, _ = fmt.Fprintf(out, "%s: %s\n", root.Name(), printableLines(err.Error()))
		if ExitCode(err) == ExitUsage {
			_, _ = fmt.Fprintf(out, "See '%s --help'.\n", cmd.CommandPath())
		}
	}
	return ExitCode(err)
}

// ExitCode returns the exit code for an error that a command has returned, for
// applications that run their commands without [Execute].
func ExitCode(err error) int {
	if err == nil {
		return ExitOK
	}
	var coded *codedError
	if errors.As(err, &coded) {
		return coded.code
	}
	var run *migrator.RunError
	if errors.As(err, &run) {
		return ExitTenants
	}
	return ExitError
}

// codedError is an error with an exit code.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

// usage returns an error in the command line.
func usage(text string, args ...any) error { return &codedError{ExitUsage, fmt.Errorf(text, args...)} }

// found returns what --check ends with.
func found(text string, args ...any) error { return &codedError{ExitFound, fmt.Errorf(text, args...)} }

// failed returns that some of several tenants failed.
func failed(text string, args ...any) error {
	return &codedError{ExitTenants, fmt.Errorf(text, args...)}
}

// interrupted marks an error of a command whose context was cancelled: whatever
// the error says, this is why.
func interrupted(ctx context.Context, err error) error {
	if err == nil || !errors.Is(ctx.Err(), context.Canceled) {
		return err
	}
	return &codedError{ExitInterrupted, fmt.Errorf("interrupted: %w", err)}
}
