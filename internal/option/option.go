// Package option applies functional options.
package option

import (
	"errors"
	"fmt"
)

// Apply calls each option with to, in order, and joins their errors. A nil option, which is
// mostly a forgotten condition, is an error of the package pkg.
func Apply[T any, O ~func(*T) error](pkg string, to *T, opts []O) error {
	var errs []error
	for _, o := range opts {
		if o == nil {
			errs = append(errs, fmt.Errorf("%s: an option is nil: leave it out", pkg))
			continue
		}
		errs = append(errs, o(to))
	}
	return errors.Join(errs...)
}
