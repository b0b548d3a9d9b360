package ginmw_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/tenantry/tenantry/ginmw"
	"github.com/tenantry/tenantry/httpmw"
	"github.com/tenantry/tenantry/scope"
)

var errDown = errors.New("dial db.internal: connection refused")

// lookup is a directory made of a function.
type lookup func(context.Context, httpmw.Ref) (scope.Tenant, error)

func (f lookup) Lookup(ctx context.Context, ref httpmw.Ref) (scope.Tenant, error) {
	return f(ctx, ref)
}

func failing(err error) httpmw.Directory {
	return lookup(func(context.Context, httpmw.Ref) (scope.Tenant, error) { return scope.Tenant{}, err })
}

func fixed(t testing.TB, ids ...string) httpmw.Directory {
	t.Helper()
	tenants := make([]scope.Tenant, len(ids))
	for i, id := range ids {
		parsed, err := scope.Parse(id)
		if err != nil {
			t.Fatal(err)
		}
		tenants[i] = parsed
	}
	return httpmw.Fixed(tenants...)
}

// byHost knows acme alone, also by a domain of its own.
func byHost(t testing.TB) httpmw.Directory {
	t.Helper()
	ids := fixed(t, "acme")
	return lookup(func(ctx context.Context, ref httpmw.Ref) (scope.Tenant, error) {
		if ref == (httpmw.Ref{Kind: httpmw.KindHost, Value: "portal.acme.com"}) {
			ref = httpmw.Ref{Kind: httpmw.KindID, Value: "acme"}
		}
		return ids.Lookup(ctx, ref)
	})
}

func middleware(t testing.TB, dir httpmw.Directory, v ginmw.Resolver, opts ...ginmw.Option) gin.HandlerFunc {
	t.Helper()
	quiet := ginmw.WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil)))
	mw, err := ginmw.New(dir, v, append([]ginmw.Option{quiet}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return mw
}

// router answers on several routes with the tenant on the request's context.
func router(before ...gin.HandlerFunc) *gin.Engine {
	r := gin.New()
	r.Use(before...)
	for _, path := range []string{"/", "/t/:tenant/invoices", "/all/*tenant"} {
		r.GET(path, greet)
	}
	return r
}

func greet(c *gin.Context) {
	t, err := scope.From(c.Request.Context())
	if err != nil {
		c.String(http.StatusInternalServerError, err.Error())
		return
	}
	c.String(http.StatusOK, t.String())
}

func get(h http.Handler, url string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, url, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestTheTenantIsFoundByEachResolver(t *testing.T) {
	claim := func(c *gin.Context) { c.Set("claim", "acme") }
	for name, tc := range map[string]struct {
		v   ginmw.Resolver
		url string
	}{
		"subdomain": {ginmw.Subdomain("myservice.com"), "http://acme.myservice.com:8080/"},
		"host":      {ginmw.First(ginmw.Subdomain("myservice.com"), ginmw.Host()), "http://portal.acme.com:8080/"},
		"path":      {ginmw.PathParam("tenant"), "/t/acme/invoices"},
		"header":    {ginmw.Header("X-Tenant"), "/"},
		"function":  {ginmw.Func(func(c *gin.Context) (string, error) { return c.GetString("claim"), nil }), "/"},
		"first": {ginmw.First(
			ginmw.Subdomain("myservice.com"),
			ginmw.Func(func(*gin.Context) (string, error) { return "", nil }),
			ginmw.PathParam("tenant"),
		), "/t/acme/invoices"},
	} {
		t.Run(name, func(t *testing.T) {
			w := get(router(claim, middleware(t, byHost(t), tc.v)), tc.url, "X-Tenant", "acme")
			if w.Code != http.StatusOK || w.Body.String() != "acme" {
				t.Errorf("got %d, %q; want acme", w.Code, w.Body)
			}
		})
	}
}

func TestRefusedRequestsAreAnsweredAndAborted(t *testing.T) {
	subdomain, path := ginmw.Subdomain("myservice.com"), ginmw.PathParam("tenant")
	fails := ginmw.Func(func(*gin.Context) (string, error) { return "acme", errDown })
	for name, tc := range map[string]struct {
		dir    httpmw.Directory
		v      ginmw.Resolver
		url    string
		status int
		text   string
	}{
		"no tenant":                {fixed(t, "acme"), subdomain, "http://myservice.com/", 400, "no tenant named"},
		"a route without it":       {fixed(t, "acme"), path, "/", 400, "no tenant named"},
		"a malformed host":         {fixed(t, "acme"), subdomain, "http://a.b.myservice.com/", 400, "malformed tenant"},
		"one label":                {fixed(t, "acme"), ginmw.Host(), "http://localhost:8080/", 400, "no tenant named"},
		"an unknown host":          {fixed(t, "acme"), ginmw.Host(), "http://portal.acme.com/", 404, "unknown tenant"},
		"a malformed id":           {fixed(t, "acme"), path, "/t/Acme/invoices", 400, "malformed tenant"},
		"a quote in the path":      {fixed(t, "acme"), path, "/t/ac%22me/invoices", 400, "malformed tenant"},
		"NUL in the path":          {fixed(t, "acme"), path, "/t/acme%00/invoices", 400, "malformed tenant"},
		"a catch-all":              {fixed(t, "acme"), path, "/all/acme", 400, "malformed tenant"},
		"an unknown tenant":        {fixed(t, "acme"), path, "/t/globex/invoices", 404, "unknown tenant"},
		"a suspended tenant":       {failing(httpmw.ErrSuspended), path, "/t/acme/invoices", 403, "suspended tenant"},
		"a directory that is down": {failing(errDown), path, "/t/acme/invoices", 503, "tenant directory unavailable"},
		"a zero tenant":            {failing(nil), path, "/t/acme/invoices", 503, "tenant directory unavailable"},
		"a function that fails":    {fixed(t, "acme"), fails, "/", 503, "tenant directory unavailable"},
		"no route":                 {fixed(t, "acme"), subdomain, "http://globex.myservice.com/none", 404, "unknown tenant"},
	} {
		t.Run(name, func(t *testing.T) {
			after := func(c *gin.Context) { t.Error("a later middleware ran") }
			r := router(middleware(t, tc.dir, tc.v), after)
			w := get(r, tc.url)
			if want := `{"error":"` + tc.text + `"}` + "\n"; w.Code != tc.status || w.Body.String() != want {
				t.Errorf("got %d, %q; want %d, %q", w.Code, w.Body, tc.status, want)
			}
			w = get(r, tc.url, "Accept", "text/plain")
			if w.Code != tc.status || w.Body.String() != tc.text+"\n" {
				t.Errorf("as text: got %d, %q; want %d, %q", w.Code, w.Body, tc.status, tc.text)
			}
		})
	}
}

func TestHeadOfAnUnknownTenantKeepsTheAnswersHeaders(t *testing.T) {
	r := router(middleware(t, fixed(t), ginmw.Subdomain("myservice.com")))
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest(http.MethodHead, "http://acme.myservice.com/none", nil))
	if got := w.Header().Get("Content-Type"); w.Code != 404 || w.Body.Len() != 0 || !strings.HasPrefix(got, "application/json") {
		t.Errorf("got %d, %q, %q", w.Code, got, w.Body)
	}
}

func TestWithAnswerReplacesTheAnswerAndCannotLetTheRequestThrough(t *testing.T) {
	for name, tc := range map[string]struct {
		answer func(c *gin.Context, status int, err error)
		status int
		body   string
	}{
		"writes":         {func(c *gin.Context, status int, err error) { c.String(http.StatusTeapot, "%d", status) }, 418, "503"},
		"writes nothing": {func(*gin.Context, int, error) {}, 503, ""},
		"calls Next":     {func(c *gin.Context, _ int, _ error) { c.Next() }, 503, ""},
		"calls Answer": {func(c *gin.Context, status int, err error) {
			httpmw.Answer(c.Writer, c.Request, status, err)
		}, 503, `{"error":"tenant directory unavailable"}` + "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			answer := func(c *gin.Context, status int, err error) {
				if !c.IsAborted() || !errors.Is(err, errDown) {
					t.Errorf("aborted: %t, error: %v", c.IsAborted(), err)
				}
				tc.answer(c, status, err)
			}
			after := func(c *gin.Context) { t.Error("a later middleware ran") }
			mw := middleware(t, failing(errDown), ginmw.PathParam("tenant"), ginmw.WithAnswer(answer))
			if w := get(router(mw, after), "/t/acme/invoices"); w.Code != tc.status || w.Body.String() != tc.body {
				t.Errorf("got %d, %q; want %d, %q", w.Code, w.Body, tc.status, tc.body)
			}
		})
	}
}

func TestTheScopeGoesOnTheRequestsOwnContext(t *testing.T) {
	type outer struct{}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), outer{}, 1))
	defer cancel()
	ran := false
	r := gin.New()
	r.Use(middleware(t, fixed(t, "acme"), ginmw.PathParam("tenant")))
	r.GET("/t/:tenant", func(c *gin.Context) {
		ran = true
		if c.Request.Context().Value(outer{}) == nil {
			t.Error("a value of the request's own context is lost")
		}
		if cancel(); c.Request.Context().Err() == nil {
			t.Error("the request's own context does not cancel the handler's")
		}
		if c.Param("tenant") != "acme" {
			t.Errorf("the path parameter is %q", c.Param("tenant"))
		}
	})
	r.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/t/acme", nil).WithContext(ctx))
	if !ran {
		t.Error("the handler did not run")
	}
}

func TestMountedTwiceBothMustNameTheSameTenant(t *testing.T) {
	dir := fixed(t, "acme", "globex")
	r := router(middleware(t, dir, ginmw.Header("X-Claim")), middleware(t, dir, ginmw.PathParam("tenant")))
	if w := get(r, "/t/acme/invoices", "X-Claim", "acme"); w.Code != http.StatusOK || w.Body.String() != "acme" {
		t.Errorf("the same: got %d, %q", w.Code, w.Body)
	}
	if w := get(r, "/t/acme/invoices", "X-Claim", "globex"); w.Code != http.StatusBadRequest {
		t.Errorf("another: got %d, %q; want 400", w.Code, w.Body)
	}
}

func TestAClientThatGoesAwayCancelsTheHandlersContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	r := gin.New()
	r.Use(middleware(t, fixed(t, "acme"), ginmw.PathParam("tenant")))
	r.GET("/t/:tenant", func(c *gin.Context) {
		defer close(done)
		cancel() // the client goes away
		<-c.Request.Context().Done()
	})
	server := httptest.NewServer(r)
	defer server.Close()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/t/acme", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := server.Client().Do(request)
	if err == nil {
		_ = response.Body.Close()
	}
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v; want context.Canceled", err)
	}
	<-done
}

func TestNewRefusesBadArguments(t *testing.T) {
	good := ginmw.Header("X-Tenant")
	for name, tc := range map[string]struct {
		dir  httpmw.Directory
		v    ginmw.Resolver
		opts []ginmw.Option
	}{
		"no directory":     {nil, good, nil},
		"a zero resolver":  {fixed(t), ginmw.Resolver{}, nil},
		"a bad parent":     {fixed(t), ginmw.Subdomain("https://myservice.com"), nil},
		"a path parameter": {fixed(t), ginmw.PathParam(""), nil},
		"a header":         {fixed(t), ginmw.Header(" "), nil},
		"a nil function":   {fixed(t), ginmw.Func(nil), nil},
		"First of none":    {fixed(t), ginmw.First(), nil},
		"First of zero":    {fixed(t), ginmw.First(good, ginmw.Resolver{}), nil},
		"a nil option":     {fixed(t), good, []ginmw.Option{nil}},
		"a nil answer":     {fixed(t), good, []ginmw.Option{ginmw.WithAnswer(nil)}},
		"a nil logger":     {fixed(t), good, []ginmw.Option{ginmw.WithLogger(nil)}},
	} {
		t.Run(name, func(t *testing.T) {
			if mw, err := ginmw.New(tc.dir, tc.v, tc.opts...); err == nil || mw != nil {
				t.Errorf("got %v; want an error", err)
			}
		})
	}
}

// gin takes its contexts from a pool: a request must never see another's.
func TestRequestsAtTheSameTimeKeepTheirTenants(t *testing.T) {
	ids := []string{"acme", "globex", "initech", "hooli"}
	claim := ginmw.Func(func(c *gin.Context) (string, error) { return c.GetHeader("X-Claim"), nil })
	r := router(middleware(t, fixed(t, ids[:3]...), ginmw.First(claim, ginmw.PathParam("tenant"))))
	var wg sync.WaitGroup
	for n := range 64 {
		wg.Go(func() {
			for i := range 50 {
				id := ids[(n+i)%len(ids)]
				want := id
				if id == ids[3] {
					want = `{"error":"unknown tenant"}` + "\n"
				}
				for _, w := range []*httptest.ResponseRecorder{get(r, "/t/"+id+"/invoices"), get(r, "/", "X-Claim", id)} {
					if w.Body.String() != want {
						t.Errorf("got %q; want %q", w.Body, want)
					}
				}
			}
		})
	}
	wg.Wait()
}
