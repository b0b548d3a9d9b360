package httpmw_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/httpmw"
	"github.com/tenantry/tenantry/scope"
)

var errClaims = errors.New("claims: unreadable")

// byEach returns for each resolver of ids a request that names id, and the
// resolver.
func byEach(id string) map[string]func() (*http.Request, httpmw.Resolver) {
	return map[string]func() (*http.Request, httpmw.Resolver){
		"path": func() (*http.Request, httpmw.Resolver) {
			r := request("")
			r.SetPathValue("tenant", id)
			return r, httpmw.PathParam("tenant")
		},
		"header": func() (*http.Request, httpmw.Resolver) {
			r := request("")
			r.Header["X-Tenant"] = []string{id}
			return r, httpmw.Header("x-tenant")
		},
		"function": func() (*http.Request, httpmw.Resolver) {
			return request(""), httpmw.Func(func(*http.Request) (string, error) { return id, nil })
		},
	}
}

func TestIDsAreReadByPathHeaderAndFunction(t *testing.T) {
	for name, tc := range map[string]struct {
		id   string
		want error
	}{
		"plain":                {"acme", nil},
		"all characters":       {"a-b_9", nil},
		"48 characters":        {strings.Repeat("a", 48), nil},
		"empty":                {"", httpmw.ErrNoTenant},
		"49 characters":        {strings.Repeat("a", 49), scope.ErrInvalid},
		"upper case":           {"Acme", scope.ErrInvalid},
		"upper case inside":    {"aCme", scope.ErrInvalid},
		"a leading digit":      {"3com", scope.ErrInvalid},
		"a leading hyphen":     {"-acme", scope.ErrInvalid},
		"a leading underscore": {"_acme", scope.ErrInvalid},
		"a double quote":       {`ac"me`, scope.ErrInvalid},
		"a single quote":       {"ac'me", scope.ErrInvalid},
		"NUL":                  {"acme\x00", scope.ErrInvalid},
		"a space":              {"acme ", scope.ErrInvalid},
		"a newline":            {"acme\n", scope.ErrInvalid},
		"a slash":              {"/acme", scope.ErrInvalid},
		"a dot":                {"acme.x", scope.ErrInvalid},
		"a list":               {"acme,globex", scope.ErrInvalid},
		"unicode":              {"münchen", scope.ErrInvalid},
		"very long":            {strings.Repeat("a", 1<<20), scope.ErrInvalid},
	} {
		for source, build := range byEach(tc.id) {
			t.Run(name+" by "+source, func(t *testing.T) {
				r, v := build()
				ref, err := v.Resolve(r)
				if !errors.Is(err, tc.want) || errors.Is(err, httpmw.ErrMalformed) != errors.Is(tc.want, scope.ErrInvalid) {
					t.Fatalf("got %v; want %v", err, tc.want)
				}
				if want := (httpmw.Ref{Kind: httpmw.KindID, Value: tc.id}); err == nil && ref != want {
					t.Errorf("got %v; want %v", ref, want)
				}
				if err != nil && (ref != httpmw.Ref{} || len(err.Error()) > 1000 || !strings.Contains(err.Error(), source)) {
					t.Errorf("got %v, %v", ref, err)
				}
			})
		}
	}
}

func TestHeaderThatIsMissingOrOccursTwice(t *testing.T) {
	v := httpmw.Header("X-Tenant")
	r := request("")
	if _, err := v.Resolve(r); !errors.Is(err, httpmw.ErrNoTenant) {
		t.Errorf("missing: got %v; want ErrNoTenant", err)
	}
	r.Header["X-Tenant"] = []string{"acme", "acme"}
	if _, err := v.Resolve(r); !errors.Is(err, httpmw.ErrMalformed) {
		t.Errorf("twice: got %v; want ErrMalformed", err)
	}
}

func TestFuncKeepsTheFunctionsError(t *testing.T) {
	v := httpmw.Func(func(*http.Request) (string, error) { return "acme", errClaims })
	if ref, err := v.Resolve(request("")); !errors.Is(err, errClaims) || ref != (httpmw.Ref{}) {
		t.Errorf("got %v, %v; want %v", ref, err, errClaims)
	}
}

func TestPathParamReadsServeMuxWildcards(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle("GET /t/{tenant}/invoices", middleware(t, httpmw.Fixed(tenant(t, "acme")), httpmw.PathParam("tenant"))(greet(t)))
	for path, want := range map[string]int{
		"/t/acme/invoices":    http.StatusOK,
		"/t/globex/invoices":  http.StatusNotFound,
		"/t/Acme/invoices":    http.StatusBadRequest,
		"/t/ac%22me/invoices": http.StatusBadRequest,
		"/t/acme%00/invoices": http.StatusBadRequest,
	} {
		if w := serve(mux, httptest.NewRequest(http.MethodGet, path, nil)); w.Code != want {
			t.Errorf("%s: got %d; want %d", path, w.Code, want)
		}
	}
}

func TestFirstGoesOnOnlyWhenNothingIsNamed(t *testing.T) {
	v := httpmw.First(
		httpmw.Subdomain("myservice.com"),
		httpmw.Header("X-Tenant"),
		httpmw.Func(func(*http.Request) (string, error) { return "", errClaims }),
	)
	for name, tc := range map[string]struct {
		host, header string
		want         httpmw.Ref
		err          error
	}{
		"the first names one":     {"acme.myservice.com", "globex", httpmw.Ref{Kind: httpmw.KindSubdomain, Value: "acme"}, nil},
		"the second names one":    {"myservice.com", "globex", httpmw.Ref{Kind: httpmw.KindID, Value: "globex"}, nil},
		"by address":              {"[::1]:8080", "globex", httpmw.Ref{Kind: httpmw.KindID, Value: "globex"}, nil},
		"the first is malformed":  {"a.b.myservice.com", "globex", httpmw.Ref{}, httpmw.ErrMalformed},
		"the second is malformed": {"myservice.com", "Globex", httpmw.Ref{}, httpmw.ErrMalformed},
		"the third fails":         {"myservice.com", "", httpmw.Ref{}, errClaims},
	} {
		t.Run(name, func(t *testing.T) {
			r := request(tc.host)
			r.Header.Set("X-Tenant", tc.header)
			got, err := v.Resolve(r)
			if !errors.Is(err, tc.err) || got != tc.want {
				t.Errorf("got %v, %v; want %v, %v", got, err, tc.want, tc.err)
			}
		})
	}
}

func TestFirstSaysWhereItLooked(t *testing.T) {
	v := httpmw.First(httpmw.Subdomain("myservice.com"), httpmw.First(httpmw.Header("X-Tenant")))
	_, err := v.Resolve(request("myservice.com"))
	if !errors.Is(err, httpmw.ErrNoTenant) || errors.Is(err, httpmw.ErrMalformed) {
		t.Fatalf("got %v; want ErrNoTenant", err)
	}
	for _, place := range []string{"myservice.com", "X-Tenant"} {
		if !strings.Contains(err.Error(), place) {
			t.Errorf("%q is not in %q", place, err)
		}
	}
}

func TestFirstDoesNotKeepTheCallersSlice(t *testing.T) {
	list := []httpmw.Resolver{httpmw.Header("X-Tenant")}
	v := httpmw.First(list...)
	list[0] = httpmw.Header("X-Other")
	r := request("")
	r.Header.Set("X-Tenant", "acme")
	if got, err := v.Resolve(r); err != nil || got.Value != "acme" {
		t.Errorf("got %v, %v; want acme", got, err)
	}
}

func TestNewRefusesBadResolvers(t *testing.T) {
	for name, v := range map[string]httpmw.Resolver{
		"the zero value":           {},
		"a path parameter":         httpmw.PathParam(""),
		"a header":                 httpmw.Header(""),
		"a header with a space":    httpmw.Header("X Tenant"),
		"a header with a colon":    httpmw.Header("X-Tenant:"),
		"a header in unicode":      httpmw.Header("X-Ténant"),
		"a function":               httpmw.Func(nil),
		"First of none":            httpmw.First(),
		"First of the zero value":  httpmw.First(httpmw.Header("X-Tenant"), httpmw.Resolver{}),
		"First of a wrong parent":  httpmw.First(httpmw.Subdomain("")),
		"First of First of a zero": httpmw.First(httpmw.First(httpmw.Resolver{})),
	} {
		t.Run(name, func(t *testing.T) {
			mw, err := httpmw.New(httpmw.Fixed(), v)
			if err == nil || mw != nil || !strings.HasPrefix(err.Error(), "httpmw: ") {
				t.Fatalf("got %v; want an error of this package", err)
			}
			if _, resolved := v.Resolve(request("")); resolved == nil || resolved.Error() != err.Error() {
				t.Errorf("Resolve returns %v; want %v", resolved, err)
			}
		})
	}
}
