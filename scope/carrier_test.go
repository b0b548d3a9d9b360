package scope_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/scope"
)

// onlyGet is a carrier that cannot tell whether a key has several values.
type onlyGet struct{ scope.Carrier }

// carriers returns an empty carrier of each kind.
func carriers() map[string]scope.Carrier {
	return map[string]scope.Carrier{
		"map":      scope.Map{},
		"header":   http.Header{},
		"only get": onlyGet{http.Header{}},
	}
}

func TestAScopeGoesThroughEachCarrier(t *testing.T) {
	t.Parallel()
	acme, globex := parse(t, "acme"), parse(t, "globex")
	for name := range carriers() {
		for text, sent := range map[string]context.Context{
			"acme":    scope.With(t.Context(), acme),
			"_shared": scope.Shared(t.Context()),
		} {
			c := carriers()[name]
			c.Set(scope.HeaderName, "globex") // another's, which must go
			if err := scope.Inject(sent, c); err != nil || c.Get("Tenantry-Tenant") != text {
				t.Errorf("%s: injected %q, error %v, want %q", name, c.Get(scope.HeaderName), err, text)
			}
			for _, ctx := range []context.Context{t.Context(), scope.With(t.Context(), globex), scope.Shared(t.Context())} {
				got, err := scope.Extract(ctx, c)
				mustBe(t, name+" "+text, got, err, sent)
			}
		}
	}
}

// mustBe compares scopes.
func mustBe(t *testing.T, name string, got context.Context, err error, want context.Context) {
	t.Helper()
	tenant, _ := scope.From(got)
	wanted, _ := scope.From(want)
	if err != nil || tenant != wanted || scope.IsShared(got) != scope.IsShared(want) {
		t.Errorf("%s: got tenant %q, shared %t, error %v", name, tenant, scope.IsShared(got), err)
	}
}

// mustBeNone wants an error and a context that nothing can run under.
func mustBeNone(t *testing.T, name string, got context.Context, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got error %v, want %v", name, err, want)
	}
	if tenant, none := scope.From(got); !errors.Is(none, scope.ErrNone) || scope.IsShared(got) {
		t.Errorf("%s: the context still carries %q, shared %t", name, tenant, scope.IsShared(got))
	}
}

func TestNothingIsSentWithoutAScope(t *testing.T) {
	t.Parallel()
	for name, c := range carriers() {
		for _, ctx := range []context.Context{t.Context(), scope.With(scope.Shared(t.Context()), scope.Tenant{})} {
			if err := scope.Inject(ctx, c); !errors.Is(err, scope.ErrNone) {
				t.Errorf("%s: got error %v, want ErrNone", name, err)
			}
		}
		if h, ok := c.(http.Header); ok && len(h) > 0 {
			t.Errorf("%s: got %v", name, h)
		}
	}
	m := scope.Map{}
	if err := scope.Inject(t.Context(), m); err == nil || len(m) > 0 {
		t.Errorf("got %v, error %v", m, err)
	}
}

func TestExtractTakesOneScopeOrNothing(t *testing.T) {
	t.Parallel()
	header := func(values ...string) http.Header { return http.Header{scope.HeaderName: values} }
	for name, tc := range map[string]struct {
		carrier scope.Carrier
		want    error
	}{
		"a nil map":              {scope.Map(nil), scope.ErrNone},
		"a nil header":           {http.Header(nil), scope.ErrNone},
		"no header":              {http.Header{"Tenant": {"acme"}}, scope.ErrNone},
		"an empty value":         {header(""), scope.ErrNone},
		"an empty text":          {scope.Map{scope.HeaderName: ""}, scope.ErrNone},
		"two tenants":            {header("acme", "globex"), scope.ErrInvalid},
		"one tenant twice":       {header("acme", "acme"), scope.ErrInvalid},
		"a tenant and nothing":   {header("acme", ""), scope.ErrInvalid},
		"nothing and a tenant":   {header("", "acme"), scope.ErrInvalid},
		"a tenant and shared":    {header("acme", "_shared"), scope.ErrInvalid},
		"a list":                 {header("acme,globex"), scope.ErrInvalid},
		"upper case":             {header("Acme"), scope.ErrInvalid},
		"a space":                {header(" acme"), scope.ErrInvalid},
		"shared in capitals":     {header("_SHARED"), scope.ErrInvalid},
		"longer than shared":     {header("_shared2"), scope.ErrInvalid},
		"a very long text":       {header(strings.Repeat("a", 1<<20)), scope.ErrInvalid},
		"a line feed":            {scope.Map{scope.HeaderName: "acme\n"}, scope.ErrInvalid},
		"another case in a map":  {scope.Map{"tenantry-tenant": "acme"}, scope.ErrNone},
		"two in a lone Get's go": {onlyGet{header("", "acme")}, scope.ErrNone},
	} {
		for _, ctx := range []context.Context{t.Context(), scope.With(t.Context(), parse(t, "globex")), scope.Shared(t.Context())} {
			got, err := scope.Extract(ctx, tc.carrier)
			mustBeNone(t, name, got, err, tc.want)
			if err != nil && len(err.Error()) > 500 {
				t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
			}
		}
	}
}

func TestANilCarrierIsAnError(t *testing.T) {
	t.Parallel()
	ctx := scope.With(t.Context(), parse(t, "acme"))
	if err := scope.Inject(ctx, nil); err == nil || !strings.Contains(err.Error(), "carrier is nil") {
		t.Errorf("Inject: %v", err)
	}
	got, err := scope.Extract(ctx, nil)
	mustBeNone(t, "Extract", got, err, err)
	if err == nil || !strings.Contains(err.Error(), "carrier is nil") {
		t.Errorf("Extract: %v", err)
	}
}

// FuzzExtract: whatever is received, either it is what Inject would have sent, or
// nothing runs.
func FuzzExtract(f *testing.F) {
	for _, v := range []string{"acme", "_shared", "", "acme,globex", "_", "Acme", "acme\x00"} {
		f.Add(v, "", 1)
		f.Add(v, "acme", 2)
	}
	f.Fuzz(func(t *testing.T, first, second string, n int) {
		c := http.Header{}
		for _, v := range []string{first, second}[:min(max(n, 0), 2)] {
			c.Add(scope.HeaderName, v)
		}
		got, err := scope.Extract(scope.With(t.Context(), parse(t, "before")), c)
		if err != nil {
			mustBeNone(t, "received", got, err, err)
			if !errors.Is(err, scope.ErrNone) && !errors.Is(err, scope.ErrInvalid) {
				t.Errorf("got error %v", err)
			}
			return
		}
		sent := http.Header{}
		if err := scope.Inject(got, sent); err != nil || len(c[scope.HeaderName]) != 1 || sent.Get(scope.HeaderName) != first {
			t.Errorf("%q was read as %q, error %v", c, sent, err)
		}
	})
}
