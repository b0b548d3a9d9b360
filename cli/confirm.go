package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// confirmation is asked for before something is destroyed.
type confirmation struct{ yes bool }

func (c *confirmation) flag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&c.yes, "yes", false, "don't ask for confirmation, for scripts")
}

// ask returns nil if --yes is given, or if the user's answer is want. Without a
// terminal there is nobody to ask.
func (c *confirmation) ask(cmd *cobra.Command, question, want string) error {
	if c.yes {
		return nil
	}
	if !isTerminal(cmd.InOrStdin()) {
		return &codedError{ExitNotConfirmed, errors.New("not confirmed: standard input is no terminal: give --yes")}
	}
	_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "%s\nType %s to go on: ", question, want)
	answer, err := readLine(cmd.Context(), cmd.InOrStdin())
	if err != nil {
		return err
	}
	if answer != want {
		return &codedError{ExitNotConfirmed, errors.New("not confirmed: nothing was changed")}
	}
	return nil
}

// readLine reads a line, or returns when ctx ends. Reading can't be cut off: its
// goroutine then ends with the process.
func readLine(ctx context.Context, in io.Reader) (string, error) {
	lines := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(in).ReadString('\n') // what there is up to an error is no confirmation
		lines <- strings.TrimSpace(line)
	}()
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case line := <-lines:
		return line, nil
	}
}

// isTerminal reports whether f is a terminal.
func isTerminal(f any) bool {
	file, ok := f.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
