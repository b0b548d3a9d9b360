package httpmw_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/tenantry/tenantry/httpmw"
	"github.com/tenantry/tenantry/scope"
)

// lookup is a directory made of a function.
type lookup func(context.Context, httpmw.Ref) (scope.Tenant, error)

func (f lookup) Lookup(ctx context.Context, ref httpmw.Ref) (scope.Tenant, error) {
	return f(ctx, ref)
}

func failing(err error) httpmw.Directory {
	return lookup(func(context.Context, httpmw.Ref) (scope.Tenant, error) { return scope.Tenant{}, err })
}

func tenant(t testing.TB, id string) scope.Tenant {
	t.Helper()
	parsed, err := scope.Parse(id)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// request has the given host as it is, which httptest.NewRequest would parse.
func request(host string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Host = host
	return r
}

func quiet() httpmw.Option {
	return httpmw.WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil)))
}

func middleware(t testing.TB, dir httpmw.Directory, v httpmw.Resolver, opts ...httpmw.Option) func(http.Handler) http.Handler {
	t.Helper()
	mw, err := httpmw.New(dir, v, append([]httpmw.Option{quiet()}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return mw
}

// greet answers with the tenant on the context.
func greet(t testing.TB) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, err := scope.From(r.Context())
		if err != nil {
			t.Errorf("the handler ran without a tenant: %v", err)
		}
		_, _ = io.WriteString(w, got.String())
	})
}

func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}
