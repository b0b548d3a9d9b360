package scope_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/tenantry/tenantry/scope"
)

// job holds the scope in a field, embedding among the other arguments.
type (
	job struct {
		Scope  scope.Carried `json:"scope"`
		Number int           `json:"number"`
	}
	embedding struct {
		scope.Carried
		Number int `json:"number"`
	}
)

func carry(t *testing.T, ctx context.Context) scope.Carried {
	t.Helper()
	c, err := scope.Carry(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAJobCarriesItsScope(t *testing.T) {
	t.Parallel()
	for text, sent := range map[string]context.Context{
		"acme":    scope.With(t.Context(), parse(t, "acme")),
		"_shared": scope.Shared(t.Context()),
	} {
		b, err := json.Marshal(job{carry(t, sent), 7})
		if want := `{"scope":{"tenant":"` + text + `"},"number":7}`; err != nil || string(b) != want {
			t.Errorf("got %s, error %v, want %s", b, err, want)
		}
		var got job
		if err := json.Unmarshal(b, &got); err != nil || got != (job{carry(t, sent), 7}) {
			t.Errorf("read back %v, error %v", got, err)
		}
		// The worker's own context may have a scope, which must not count.
		for _, ctx := range []context.Context{t.Context(), scope.With(t.Context(), parse(t, "globex")), scope.Shared(t.Context())} {
			under, err := got.Scope.Context(ctx)
			mustBe(t, text, under, err, sent)
		}
	}
}

func TestAnEmbeddedScopeLeavesTheOtherArguments(t *testing.T) {
	t.Parallel()
	ctx := scope.With(t.Context(), parse(t, "acme"))
	b, err := json.Marshal(embedding{carry(t, ctx), 7})
	if want := `{"tenant":"acme","number":7}`; err != nil || string(b) != want {
		t.Errorf("got %s, error %v, want %s", b, err, want)
	}
	var got embedding
	if err := json.Unmarshal(b, &got); err != nil || got.Number != 7 {
		t.Errorf("read back %v, error %v", got, err)
	}
	under, err := got.Context(t.Context())
	mustBe(t, "embedded", under, err, ctx)
}

func TestAJobWithoutAScopeIsNotEncoded(t *testing.T) {
	t.Parallel()
	for _, ctx := range []context.Context{t.Context(), scope.With(scope.Shared(t.Context()), scope.Tenant{})} {
		if c, err := scope.Carry(ctx); !errors.Is(err, scope.ErrNone) || c != (scope.Carried{}) {
			t.Errorf("carried %v, error %v", c, err)
		}
	}
	for _, args := range []any{job{Number: 7}, &embedding{Number: 7}} {
		if b, err := json.Marshal(args); !errors.Is(err, scope.ErrNone) {
			t.Errorf("encoded %s, error %v", b, err)
		}
	}
}

func TestAWorkerFailsAJobWithoutAScope(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]error{
		`{"number":7}`:                            scope.ErrNone,
		`{"scope":null,"number":7}`:               scope.ErrNone,
		`{"scope":{},"number":7}`:                 scope.ErrNone,
		`{"scope":{"tenant":null},"number":7}`:    scope.ErrNone,
		`{"scope":{"tenant":""},"number":7}`:      scope.ErrNone,
		`{"scope":{"tenant":"Acme"},"number":7}`:  scope.ErrInvalid,
		`{"scope":{"tenant":"_all"},"number":7}`:  scope.ErrInvalid,
		`{"scope":{"tenant":"a,b"},"number":7}`:   scope.ErrInvalid,
		`{"tenant":"acme","scope":{},"number":7}`: scope.ErrNone,
	} {
		var got job
		read := json.Unmarshal([]byte(args), &got)
		under, err := got.Scope.Context(scope.With(t.Context(), parse(t, "globex")))
		mustBeNone(t, args, under, err, scope.ErrNone)
		if !errors.Is(errors.Join(read, err), want) {
			t.Errorf("%s: got errors %v and %v, want %v", args, read, err, want)
		}
	}
}
