package httpmw

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/tenantry/tenantry/scope"
)

// New returns middleware that puts the tenant of each request on the request's
// context, and answers requests without one itself, as the package documentation
// lists. The error says what is wrong with the arguments, down to those of the
// resolver.
//
// The middleware keeps no state and is safe for concurrent use.
func New(dir Directory, resolver Resolver, opts ...Option) (func(http.Handler) http.Handler, error) {
	if dir == nil {
		return nil, errors.New("httpmw: the directory is nil: give one that knows the tenants, such as Fixed")
	}
	if err := resolver.check(); err != nil {
		return nil, err
	}
	c, err := configure(opts)
	if err != nil {
		return nil, err
	}
	m := &middleware{config: c, dir: dir, resolver: resolver}
	return m.wrap, nil
}

type middleware struct {
	config
	dir      Directory
	resolver Resolver
}

func (m *middleware) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, err := m.tenant(r)
		if err != nil {
			m.refuse(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(scope.With(r.Context(), t)))
	})
}

func (m *middleware) tenant(r *http.Request) (scope.Tenant, error) {
	ref, err := m.resolver.Resolve(r)
	if err != nil {
		return scope.Tenant{}, err
	}
	t, err := m.dir.Lookup(r.Context(), ref)
	if err != nil {
		return scope.Tenant{}, fmt.Errorf("httpmw: look up %s: %w", ref, err)
	}
	if t.IsZero() {
		return scope.Tenant{}, fmt.Errorf("httpmw: look up %s: the directory returned neither a tenant nor an error", ref)
	}
	if outer, err := scope.From(r.Context()); err == nil && outer != t {
		return scope.Tenant{}, fmt.Errorf("%w: %q is on its context, %s stands for %q", ErrConflict, outer, ref, t)
	}
	return t, nil
}

func (m *middleware) refuse(w http.ResponseWriter, r *http.Request, err error) {
	status, _ := classify(err)
	level := slog.LevelDebug
	// A client that went away takes its lookup with it. That is no failure.
	if gone := errors.Is(r.Context().Err(), context.Canceled); status >= 500 && !gone {
		level = slog.LevelError
	}
	m.logger.Log(r.Context(), level, "httpmw: request refused", "status", status, "error", err)
	m.answer(w, r, status, err)
}
