package driver

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
)

// connectError is a pgconn.ConnectError without its Config, in which the password
// is: who reports errors field by field would report it, too.
type connectError struct {
	text  string
	cause error
}

func (e *connectError) Error() string { return e.text }
func (e *connectError) Unwrap() error { return e.cause }

// Redact returns err without the configuration of the connection that could not
// be opened. Text and causes stay.
func Redact(err error) error {
	var failed *pgconn.ConnectError
	if !errors.As(err, &failed) {
		return err
	}
	return &connectError{text: err.Error(), cause: failed.Unwrap()}
}
