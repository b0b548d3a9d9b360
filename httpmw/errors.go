package httpmw

import (
	"errors"
	"net/http"
)

var (
	// ErrNoTenant says that the request names no tenant in the places that the
	// resolver looks at. [First] then asks its next resolver.
	ErrNoTenant = errors.New("httpmw: the request names no tenant")

	// ErrMalformed says that the request names something that cannot be a
	// tenant. Where it was read as an id the error matches scope.ErrInvalid too.
	ErrMalformed = errors.New("httpmw: the request names a malformed tenant")

	// ErrConflict says that the request names another tenant than the one that
	// its context already carried.
	ErrConflict = errors.New("httpmw: the request names two tenants")

	// ErrUnknown is what a [Directory] returns when there is no such tenant.
	ErrUnknown = errors.New("httpmw: unknown tenant")

	// ErrSuspended is what a [Directory] returns when the tenant must not be
	// served at present.
	ErrSuspended = errors.New("httpmw: suspended tenant")
)

// classify returns the status for err and what the client may read about it.
// The text is fixed, because err may tell of internals.
func classify(err error) (status int, text string) {
	switch {
	case errors.Is(err, ErrNoTenant):
		return http.StatusBadRequest, "no tenant named"
	case errors.Is(err, ErrMalformed):
		return http.StatusBadRequest, "malformed tenant"
	case errors.Is(err, ErrConflict):
		return http.StatusBadRequest, "conflicting tenants"
	case errors.Is(err, ErrUnknown):
		return http.StatusNotFound, "unknown tenant"
	case errors.Is(err, ErrSuspended):
		return http.StatusForbidden, "suspended tenant"
	}
	return http.StatusServiceUnavailable, "tenant directory unavailable"
}
