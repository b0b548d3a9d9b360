//go:build unix

package cli

import (
	"context"
	"fmt"
	"syscall"
)

// become runs the program in place of this process, whose terminal and signals it
// takes over. It returns only if it could not.
func become(_ context.Context, program string, args, env []string) error {
	err := syscall.Exec(program, append([]string{"psql"}, args...), env) //nolint:gosec // to run what the user names is what it is for
	return fmt.Errorf("start psql: %w", err)
}
