package scope_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tenantry/tenantry/scope"
)

func parse(t testing.TB, id string) scope.Tenant {
	t.Helper()
	tenant, err := scope.Parse(id)
	if err != nil {
		t.Fatal(err)
	}
	return tenant
}

func TestParseTakesIDs(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"a", "acme", "a1", "a-b_c", "a-", "a_", strings.Repeat("x", 48)} {
		tenant, err := scope.Parse(id)
		if err != nil || tenant.String() != id || tenant.IsZero() {
			t.Errorf("Parse(%q) gave %q and error %v", id, tenant, err)
		}
	}
}

func TestParseRefusesEverythingElse(t *testing.T) {
	t.Parallel()
	for name, id := range map[string]string{
		"empty":                       "",
		"49 characters":               strings.Repeat("x", 49),
		"a leading digit":             "1a",
		"a leading hyphen":            "-a",
		"a leading underscore":        "_a",
		"upper case":                  "Acme",
		"a double quote":              `a"; drop schema public; --`,
		"a single quote":              "a'b",
		"NUL":                         "a\x00b",
		"a space":                     "a b",
		"a dot":                       "a.b",
		"a slash":                     "a/b",
		"a backslash":                 `a\b`,
		"a line feed":                 "a\n",
		"a letter that is not ASCII":  "aé",
		"a letter that only looks so": "аcme",
		"bytes that are no UTF-8":     "a\xff",
	} {
		tenant, err := scope.Parse(id)
		if !errors.Is(err, scope.ErrInvalid) || !tenant.IsZero() {
			t.Errorf("%s: Parse(%q) gave %q and error %v, want ErrInvalid", name, id, tenant, err)
		}
		if err != nil && (!utf8.ValidString(err.Error()) || strings.ContainsAny(err.Error(), "\x00\n")) {
			t.Errorf("%s: the error would garble a log: %q", name, err)
		}
	}
}

func TestTheInnermostScopeDecides(t *testing.T) {
	t.Parallel()
	acme, globex := parse(t, "acme"), parse(t, "globex")
	none := t.Context()
	ofAcme := scope.With(none, acme)
	tests := []struct {
		name   string
		ctx    context.Context
		tenant scope.Tenant
		shared bool
	}{
		{"nothing", none, scope.Tenant{}, false},
		{"a tenant", ofAcme, acme, false},
		{"another tenant inside", scope.With(ofAcme, globex), globex, false},
		{"the zero tenant inside", scope.With(ofAcme, scope.Tenant{}), scope.Tenant{}, false},
		{"shared", scope.Shared(none), scope.Tenant{}, true},
		{"shared inside a tenant", scope.Shared(ofAcme), scope.Tenant{}, true},
		{"a tenant inside shared", scope.With(scope.Shared(none), acme), acme, false},
		{"the zero tenant inside shared", scope.With(scope.Shared(none), scope.Tenant{}), scope.Tenant{}, false},
		{"a context without cancellation", context.WithoutCancel(ofAcme), acme, false},
	}
	for _, tt := range tests {
		tenant, err := scope.From(tt.ctx)
		if tenant != tt.tenant || errors.Is(err, scope.ErrNone) != tt.tenant.IsZero() || scope.IsShared(tt.ctx) != tt.shared {
			t.Errorf("%s: From gave %q and %v, IsShared %t", tt.name, tenant, err, scope.IsShared(tt.ctx))
		}
	}
}

func TestFromDoesNotAllocate(t *testing.T) { // not parallel: it counts allocations
	type other struct{}
	ctx, cancel := context.WithCancel(context.WithValue(scope.With(t.Context(), parse(t, "acme")), other{}, 1))
	defer cancel()
	n := testing.AllocsPerRun(100, func() {
		if _, err := scope.From(ctx); err != nil {
			t.Error(err)
		}
		if scope.IsShared(ctx) {
			t.Error("shared")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestTenantAsText(t *testing.T) {
	t.Parallel()
	type job struct {
		Tenant scope.Tenant `json:"tenant"`
	}
	b, err := json.Marshal(job{parse(t, "acme")})
	if err != nil || string(b) != `{"tenant":"acme"}` {
		t.Errorf("marshalled %s, error %v", b, err)
	}
	var back job
	if err := json.Unmarshal(b, &back); err != nil || back.Tenant != parse(t, "acme") {
		t.Errorf("read back %v, error %v", back, err)
	}
	if err := json.Unmarshal([]byte(`{"tenant":"No Tenant"}`), &back); !errors.Is(err, scope.ErrInvalid) || back.Tenant != parse(t, "acme") {
		t.Errorf("an invalid text gave %v and error %v; the value must stay", back, err)
	}
	if _, err := json.Marshal(job{}); !errors.Is(err, scope.ErrNone) {
		t.Errorf("no tenant was marshalled, error %v", err)
	}
}

func TestTenantInLogs(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	log := slog.New(slog.NewTextHandler(&b, nil))
	log.Info("x", "tenant", parse(t, "acme"), "other", scope.Tenant{})
	if got := b.String(); !strings.Contains(got, "tenant=acme other=(none)") {
		t.Errorf("logged %q", got)
	}
}

func TestErrorsNameTheTenants(t *testing.T) {
	t.Parallel()
	mismatch := &scope.MismatchError{Began: parse(t, "acme")}
	if got := mismatch.Error(); !strings.Contains(got, `tenant "acme"`) || !strings.Contains(got, "the shared part") {
		t.Errorf("MismatchError: %s", got)
	}
	cause := errors.New("no route")
	err := fmt.Errorf("outer: %w", &scope.TenantError{Op: "migrate", Tenant: parse(t, "acme"), Err: cause})
	if !errors.Is(err, cause) || !strings.Contains(err.Error(), `migrate for tenant "acme": no route`) {
		t.Errorf("TenantError: %v", err)
	}
}

// FuzzParse: what is accepted keeps its promises, whatever comes in.
func FuzzParse(f *testing.F) {
	for _, id := range []string{"acme", "", "A", "a\x00", "1", "é", strings.Repeat("a", 49)} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		tenant, err := scope.Parse(id)
		if (err == nil) == tenant.IsZero() || err != nil && !errors.Is(err, scope.ErrInvalid) {
			t.Fatalf("Parse(%q) gave %q and %v", id, tenant, err)
		}
		if err == nil && (tenant.String() != id || len(id) > 48 || strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789_-") != "" || id[0] < 'a') {
			t.Fatalf("Parse took %q", id)
		}
	})
}

func BenchmarkFrom(b *testing.B) {
	ctx := scope.With(context.Background(), parse(b, "acme"))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := scope.From(ctx); err != nil {
			b.Fatal(err)
		}
	}
}
