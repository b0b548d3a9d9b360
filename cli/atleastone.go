package cli

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
)

// atLeastOne is the value of a flag that is a number of something: 0 would mean
// none at all, or no limit, and who writes 0 may expect either.
type atLeastOne struct {
	n    *int
	flag string // its name
}

// countFlag gives cmd a flag for a number from 1. Its default is what n is, and 0
// then says that the flag is not given.
func countFlag(cmd *cobra.Command, n *int, flag, short, text string) {
	cmd.Flags().VarP(&atLeastOne{n, flag}, flag, short, text)
}

// String, Set and Type make it the value of a flag.
func (v *atLeastOne) String() string {
	if v.n == nil { // cobra asks a zero value, too
		return "0"
	}
	return strconv.Itoa(*v.n)
}

func (v *atLeastOne) Type() string { return "int" }

func (v *atLeastOne) Set(text string) error {
	n, err := strconv.Atoi(text)
	switch {
	case err != nil:
		return errors.New("it is a whole number from 1")
	case n < 1:
		return &tooLow{v.flag, n}
	}
	*v.n = n
	return nil
}

// tooLow is the error for a flag whose number is less than 1.
type tooLow struct {
	flag string
	n    int
}

func (e *tooLow) Error() string { return fmt.Sprintf("--%s: %d is less than 1", e.flag, e.n) }
