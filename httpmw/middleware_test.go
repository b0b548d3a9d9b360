package httpmw_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/tenantry/tenantry/httpmw"
	"github.com/tenantry/tenantry/scope"
)

var errDown = errors.New("dial db.internal: connection refused")

func unreachable(t testing.TB) http.Handler {
	return http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the handler ran")
	})
}

func TestStatusesOfRefusedRequests(t *testing.T) {
	subdomain := httpmw.Subdomain("myservice.com")
	for name, tc := range map[string]struct {
		dir    httpmw.Directory
		by     httpmw.Resolver
		host   string
		status int
		text   string
	}{
		"no tenant":                  {httpmw.Fixed(), subdomain, "myservice.com", 400, "no tenant named"},
		"a malformed tenant":         {httpmw.Fixed(), subdomain, "a.b.myservice.com", 400, "malformed tenant"},
		"an unknown tenant":          {httpmw.Fixed(), subdomain, "acme.myservice.com", 404, "unknown tenant"},
		"a wrapped unknown tenant":   {failing(fmt.Errorf("catalog: %w", httpmw.ErrUnknown)), subdomain, "acme.myservice.com", 404, "unknown tenant"},
		"a suspended tenant":         {failing(fmt.Errorf("catalog: %w", httpmw.ErrSuspended)), subdomain, "acme.myservice.com", 403, "suspended tenant"},
		"a directory that is down":   {failing(errDown), subdomain, "acme.myservice.com", 503, "tenant directory unavailable"},
		"a directory without answer": {failing(nil), subdomain, "acme.myservice.com", 503, "tenant directory unavailable"},
		"a function that fails":      {httpmw.Fixed(), httpmw.Func(func(*http.Request) (string, error) { return "", errClaims }), "", 503, "tenant directory unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			w := serve(middleware(t, tc.dir, tc.by)(unreachable(t)), request(tc.host))
			if want := `{"error":"` + tc.text + `"}` + "\n"; w.Code != tc.status || w.Body.String() != want {
				t.Errorf("got %d, %q; want %d, %q", w.Code, w.Body, tc.status, want)
			}
		})
	}
}

func TestTenantGoesOnTheRequestsOwnContext(t *testing.T) {
	type outer struct{}
	acme := tenant(t, "acme")
	mw := middleware(t, httpmw.Fixed(acme), httpmw.Subdomain("myservice.com"))
	r := request("acme.myservice.com")
	ctx, cancel := context.WithCancel(context.WithValue(r.Context(), outer{}, 1))
	called := false
	serve(mw(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		called = true
		if got, err := scope.From(r.Context()); err != nil || got != acme {
			t.Errorf("got %v, %v; want %v", got, err, acme)
		}
		if r.Context().Value(outer{}) == nil {
			t.Error("a value of the request's own context is lost")
		}
		cancel()
		if r.Context().Err() == nil {
			t.Error("the request's own context does not cancel the handler's")
		}
	})), r.WithContext(ctx))
	if !called {
		t.Error("the handler did not run")
	}
	if _, err := scope.From(r.Context()); !errors.Is(err, scope.ErrNone) {
		t.Error("the caller's request was changed")
	}
}

func TestADirectoryWithATenantAndAnErrorLetsNothingThrough(t *testing.T) {
	acme := tenant(t, "acme")
	dir := lookup(func(context.Context, httpmw.Ref) (scope.Tenant, error) { return acme, httpmw.ErrSuspended })
	w := serve(middleware(t, dir, httpmw.Subdomain("myservice.com"))(unreachable(t)), request("acme.myservice.com"))
	if w.Code != http.StatusForbidden {
		t.Errorf("got %d; want 403", w.Code)
	}
}

func TestMountedTwiceBothMustNameTheSameTenant(t *testing.T) {
	dir := httpmw.Fixed(tenant(t, "acme"), tenant(t, "globex"))
	outer := middleware(t, dir, httpmw.Header("X-Claim"))
	inner := middleware(t, dir, httpmw.Subdomain("myservice.com"))
	for claim, want := range map[string]int{"acme": http.StatusOK, "globex": http.StatusBadRequest} {
		r := request("acme.myservice.com")
		r.Header.Set("X-Claim", claim)
		if w := serve(outer(inner(greet(t))), r); w.Code != want || want == http.StatusOK && w.Body.String() != "acme" {
			t.Errorf("%s: got %d, %q; want %d", claim, w.Code, w.Body, want)
		}
	}
}

func TestATenantTakesTheSharedPartsPlace(t *testing.T) {
	mw := middleware(t, httpmw.Fixed(tenant(t, "acme")), httpmw.Subdomain("myservice.com"))
	r := request("acme.myservice.com")
	if w := serve(mw(greet(t)), r.WithContext(scope.Shared(r.Context()))); w.Code != http.StatusOK || w.Body.String() != "acme" {
		t.Errorf("got %d, %q", w.Code, w.Body)
	}
}

func TestWithAnswerReplacesTheAnswer(t *testing.T) {
	answer := httpmw.WithAnswer(func(w http.ResponseWriter, _ *http.Request, status int, err error) {
		if status != http.StatusServiceUnavailable || !errors.Is(err, errDown) || !strings.Contains(err.Error(), `subdomain "acme"`) {
			t.Errorf("got %d, %v", status, err)
		}
		w.WriteHeader(http.StatusTeapot)
	})
	mw := middleware(t, failing(errDown), httpmw.Subdomain("myservice.com"), answer)
	if w := serve(mw(unreachable(t)), request("acme.myservice.com")); w.Code != http.StatusTeapot {
		t.Errorf("got %d; want 418", w.Code)
	}
}

func TestOnlyFailuresAreLoggedAsErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		dir   httpmw.Directory
		gone  bool
		level string
	}{
		"unknown":         {httpmw.Fixed(), false, "level=DEBUG"},
		"down":            {failing(errDown), false, "level=ERROR"},
		"the client left": {failing(context.Canceled), true, "level=DEBUG"},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			mw := middleware(t, tc.dir, httpmw.Subdomain("myservice.com"), httpmw.WithLogger(logger))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if tc.gone {
				cancel()
			}
			serve(mw(unreachable(t)), request("acme.myservice.com").WithContext(ctx))
			if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, tc.level) || !strings.Contains(got, "acme") {
				t.Errorf("got %q; want one line with %s", got, tc.level)
			}
		})
	}
}

func TestNewRefusesBadArguments(t *testing.T) {
	good := httpmw.Header("X-Tenant")
	for name, build := range map[string]func() (func(http.Handler) http.Handler, error){
		"no directory": func() (func(http.Handler) http.Handler, error) { return httpmw.New(nil, good) },
		"a nil option": func() (func(http.Handler) http.Handler, error) { return httpmw.New(httpmw.Fixed(), good, nil) },
		"no answer": func() (func(http.Handler) http.Handler, error) {
			return httpmw.New(httpmw.Fixed(), good, httpmw.WithAnswer(nil))
		},
		"no logger": func() (func(http.Handler) http.Handler, error) {
			return httpmw.New(httpmw.Fixed(), good, httpmw.WithLogger(nil))
		},
	} {
		t.Run(name, func(t *testing.T) {
			if mw, err := build(); err == nil || mw != nil || !strings.HasPrefix(err.Error(), "httpmw: ") {
				t.Errorf("got %v; want an error of this package", err)
			}
		})
	}
}

// leave sends a request to the handler that build returns, which goes away by
// calling away, and returns when the handler has closed done.
func leave(t *testing.T, build func(away func(), done chan<- struct{}) http.Handler) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	server := httptest.NewServer(build(cancel, done))
	defer server.Close()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "acme.myservice.com"
	response, err := server.Client().Do(r)
	if err == nil {
		_ = response.Body.Close()
	}
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v; want context.Canceled", err)
	}
	<-done
}

func TestAClientThatGoesAwayCancelsTheHandlersContext(t *testing.T) {
	leave(t, func(away func(), done chan<- struct{}) http.Handler {
		mw := middleware(t, httpmw.Fixed(tenant(t, "acme")), httpmw.Subdomain("myservice.com"))
		return mw(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			defer close(done)
			away()
			<-r.Context().Done()
		}))
	})
}

func TestAClientThatGoesAwayCancelsTheLookup(t *testing.T) {
	leave(t, func(away func(), done chan<- struct{}) http.Handler {
		dir := lookup(func(ctx context.Context, _ httpmw.Ref) (scope.Tenant, error) {
			defer close(done)
			away()
			<-ctx.Done()
			return scope.Tenant{}, ctx.Err()
		})
		return middleware(t, dir, httpmw.Subdomain("myservice.com"))(unreachable(t))
	})
}

func TestRequestsAtTheSameTimeKeepTheirTenants(t *testing.T) {
	ids := []string{"acme", "globex", "initech", "hooli"}
	tenants := make([]scope.Tenant, len(ids))
	for i, id := range ids {
		tenants[i] = tenant(t, id)
	}
	v := httpmw.First(httpmw.Subdomain("myservice.com"), httpmw.Header("X-Tenant"))
	h := middleware(t, httpmw.Fixed(tenants...), v)(greet(t))
	var wg sync.WaitGroup
	for n := range 64 {
		wg.Go(func() {
			for i := range 50 {
				id := ids[(n+i)%len(ids)]
				if w := serve(h, request(id+".myservice.com")); w.Body.String() != id {
					t.Errorf("got %q; want %q", w.Body, id)
				}
			}
		})
	}
	wg.Wait()
}
