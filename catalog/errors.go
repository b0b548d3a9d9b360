package catalog

import (
	"errors"
	"fmt"

	"github.com/tenantry/tenantry/httpmw"
	"github.com/tenantry/tenantry/scope"
)

var (
	// ErrUnknown says that there is no such tenant or server. It matches
	// httpmw.ErrUnknown.
	ErrUnknown error = &alias{"catalog: unknown", httpmw.ErrUnknown}

	// ErrSuspended says that the tenant is suspended. It matches
	// httpmw.ErrSuspended.
	ErrSuspended error = &alias{"catalog: the tenant is suspended", httpmw.ErrSuspended}

	// ErrInvalid says that an input has a form that can't be accepted.
	ErrInvalid = errors.New("catalog: invalid")

	// ErrReserved says that an id or a host is not for customers.
	ErrReserved = errors.New("catalog: reserved")

	// ErrTaken says that another tenant has the id or the host.
	ErrTaken = errors.New("catalog: taken")

	// ErrNoRoom says that no server takes another tenant.
	ErrNoRoom = errors.New("catalog: no room: add a server, or raise the capacity of one")

	// ErrBusy says that another call, of this process or another one, is at work
	// on the same tenant.
	ErrBusy = errors.New("catalog: another call is at work on the tenant")

	// ErrNotConfirmed says that Drop was called without the tenant's id as
	// confirmation. Nothing was changed.
	ErrNotConfirmed = errors.New("catalog: not confirmed: repeat the tenant's id")

	// ErrForeign says that a schema, database or role in the tenant's row is not
	// marked as that tenant's, or is the master's own. It was not touched.
	ErrForeign = errors.New("catalog: not this tenant's")

	// ErrMoved says that the master database is in another place than it was: see
	// [WithMovedMaster].
	ErrMoved = errors.New("catalog: this master database was in another place")

	// ErrClosed says that the catalog is closed.
	ErrClosed = errors.New("catalog: closed")
)

// alias is an error of this package that matches one of httpmw's.
type alias struct {
	text string
	of   error
}

func (a *alias) Error() string { return a.text }
func (a *alias) Unwrap() error { return a.of }

// InputError says which input was refused and why. If the id belongs to a tenant
// whose making has failed, the error also holds a *StateError with [Failed]: the
// same customer may try again by [Catalog.Repair].
type InputError struct {
	Field  string // "id", "name", "host", "labels", "server", "kind", "capacity" or "connection string"
	Value  string // what was given; empty if it is a secret
	Reason string // for people, such as "has other characters than letters"
	Err    error  // ErrInvalid, ErrReserved or ErrTaken
}

// Error says which field was refused and why.
func (e *InputError) Error() string {
	text := e.Err.Error() + " " + e.Field
	if e.Value != "" {
		text += fmt.Sprintf(" %q", e.Value)
	}
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	return text
}

// Unwrap returns Err.
func (e *InputError) Unwrap() error { return e.Err }

func invalid(field, value, reason string) error {
	return &InputError{Field: field, Value: value, Reason: reason, Err: ErrInvalid}
}

// StateError says that a tenant is in a state in which a call does nothing.
type StateError struct {
	Tenant scope.Tenant
	State  State  // it is in
	Op     string // what was asked, such as "suspend"
}

// Error names the tenant, its state and the call.
func (e *StateError) Error() string {
	return fmt.Sprintf("catalog: %s: tenant %q is %s", e.Op, e.Tenant, e.State)
}
