//go:build !unix

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// become runs the program to its end, and returns its exit code as an error.
// Ctrl-C is psql's: it ends a query there, and not this process.
func become(ctx context.Context, program string, args, env []string) error {
	cmd := exec.CommandContext(context.WithoutCancel(ctx), program, args...) //nolint:gosec // to run what the user names is what it is for
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = env, os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		return &codedError{ended.ExitCode(), err}
	}
	if err != nil {
		return fmt.Errorf("start psql: %w", err)
	}
	return nil
}
