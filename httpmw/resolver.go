package httpmw

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
)

// Resolver reads from a request whom it names. Make one with [Subdomain],
// [Host], [PathParam], [Header], [Func] or [First]. A mistake in their arguments
// is kept in the Resolver, and [New] returns it. The zero value is such a mistake.
//
// A Resolver does not change and is safe for concurrent use.
type Resolver struct {
	resolve func(*http.Request) (Ref, error)
	err     error // what is wrong with its arguments
}

// Resolve returns whom r names. The error matches [ErrNoTenant] or
// [ErrMalformed], or it comes from the function of [Func] or from the mistake
// that [New] would return.
func (v Resolver) Resolve(r *http.Request) (Ref, error) {
	if err := v.check(); err != nil {
		return Ref{}, err
	}
	return v.resolve(r)
}

func (v Resolver) check() error {
	if v.err == nil && v.resolve == nil {
		return errors.New("httpmw: a zero Resolver resolves nothing: make one with Subdomain, Host, PathParam, Header, Func or First")
	}
	return v.err
}

// broken returns a resolver that keeps a mistake for New.
func broken(format string, args ...any) Resolver {
	return Resolver{err: fmt.Errorf("httpmw: "+format, args...)}
}

// First asks the given resolvers in their order, and goes on to the next one
// only when a resolver finds no tenant named ([ErrNoTenant]). A malformed name
// is an error at once: who misspells the subdomain must not get the tenant of
// the header.
func First(resolvers ...Resolver) Resolver {
	if len(resolvers) == 0 {
		return broken("First: no resolver given: name at least one")
	}
	for i, v := range resolvers {
		if err := v.check(); err != nil {
			return broken("First: resolver %d: %w", i+1, err)
		}
	}
	resolvers = slices.Clone(resolvers)
	return Resolver{resolve: func(r *http.Request) (Ref, error) { return first(resolvers, r) }}
}

func first(resolvers []Resolver, r *http.Request) (Ref, error) {
	var missed []error
	for _, v := range resolvers {
		ref, err := v.resolve(r)
		if !errors.Is(err, ErrNoTenant) {
			return ref, err
		}
		missed = append(missed, err)
	}
	return Ref{}, errors.Join(missed...)
}
