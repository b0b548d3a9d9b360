package scope_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/slogtest"

	"github.com/tenantry/tenantry/scope"
)

// under hands each record on with the scope of its own context, because slogtest
// logs without one.
type under struct {
	slog.Handler
	ctx context.Context
}

func (u under) Handle(_ context.Context, r slog.Record) error { return u.Handler.Handle(u.ctx, r) }
func (u under) WithAttrs(a []slog.Attr) slog.Handler          { return under{u.Handler.WithAttrs(a), u.ctx} }
func (u under) WithGroup(g string) slog.Handler               { return under{u.Handler.WithGroup(g), u.ctx} }

func TestLogHandlerKeepsTheRulesOfSlog(t *testing.T) {
	t.Parallel()
	for want, ctx := range map[string]context.Context{
		"":        t.Context(),
		"acme":    scope.With(t.Context(), parse(t, "acme")),
		"_shared": scope.Shared(t.Context()),
	} {
		var b bytes.Buffer
		create := func(*testing.T) slog.Handler {
			b.Reset()
			return under{scope.LogHandler(slog.NewJSONHandler(&b, nil)), ctx}
		}
		slogtest.Run(t, create, func(t *testing.T) map[string]any {
			return withoutTenant(t, b.Bytes(), want)
		})
	}
}

// withoutTenant takes the tenant off a record, and wants it to be there once.
func withoutTenant(t *testing.T, line []byte, want string) map[string]any {
	t.Helper()
	var got map[string]any
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatal(err)
	}
	if tenant, ok := got["tenant"]; ok != (want != "") || ok && tenant != want || bytes.Count(line, []byte(`"tenant"`)) > 1 {
		t.Errorf("the tenant is %v, want %q: %s", tenant, want, line)
	}
	delete(got, "tenant")
	return got
}

// logged returns what write logs, as JSON without time, level and message.
func logged(write func(*slog.Logger)) string {
	var b bytes.Buffer
	leave := func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
			return slog.Attr{}
		}
		return a
	}
	write(slog.New(scope.LogHandler(slog.NewJSONHandler(&b, &slog.HandlerOptions{ReplaceAttr: leave}))))
	return strings.TrimSpace(b.String())
}

func TestTheTenantStandsAtTheTopOnce(t *testing.T) {
	t.Parallel()
	ctx := scope.With(t.Context(), parse(t, "acme"))
	for name, tc := range map[string]struct {
		write func(*slog.Logger)
		want  string
	}{
		"plain": {
			func(l *slog.Logger) { l.InfoContext(ctx, "", "a", 1) },
			`{"a":1,"tenant":"acme"}`,
		},
		"without a scope": {
			func(l *slog.Logger) { l.With("a", 1).WithGroup("g").InfoContext(t.Context(), "", "b", 2) },
			`{"a":1,"g":{"b":2}}`,
		},
		"before groups": {
			func(l *slog.Logger) {
				l.With("a", 1).WithGroup("g").With("b", 2).WithGroup("h").InfoContext(ctx, "", "c", 3)
			},
			`{"a":1,"tenant":"acme","g":{"b":2,"h":{"c":3}}}`,
		},
		"empty groups": {
			func(l *slog.Logger) { l.WithGroup("").With().WithGroup("g").InfoContext(ctx, "") },
			`{"tenant":"acme"}`,
		},
		"the record says it": {
			func(l *slog.Logger) { l.InfoContext(ctx, "", "tenant", "globex") },
			`{"tenant":"globex"}`,
		},
		"the record says it in a group without a name": {
			func(l *slog.Logger) { l.InfoContext(ctx, "", slog.Group("", "tenant", "globex")) },
			`{"tenant":"globex"}`,
		},
		"the logger says it": {
			func(l *slog.Logger) {
				l.With("tenant", "globex").With("a", 1).WithGroup("g").InfoContext(ctx, "", "b", 2)
			},
			`{"tenant":"globex","a":1,"g":{"b":2}}`,
		},
		"a group says it": {
			func(l *slog.Logger) {
				l.WithGroup("g").With("tenant", "globex").InfoContext(ctx, "", "tenant", "initech")
			},
			`{"tenant":"acme","g":{"tenant":"globex","tenant":"initech"}}`,
		},
		"a group of the record says it": {
			func(l *slog.Logger) { l.InfoContext(ctx, "", slog.Group("g", "tenant", "globex")) },
			`{"g":{"tenant":"globex"},"tenant":"acme"}`,
		},
		"wrapped twice": {
			func(l *slog.Logger) {
				slog.New(scope.LogHandler(l.Handler())).WithGroup("g").InfoContext(ctx, "", "a", 1)
			},
			`{"tenant":"acme","g":{"a":1}}`,
		},
	} {
		if got := logged(tc.write); got != tc.want {
			t.Errorf("%s: got %s, want %s", name, got, tc.want)
		}
	}
}

func TestLoggersOfOneHandlerDoNotMix(t *testing.T) {
	t.Parallel()
	ctx := scope.With(t.Context(), parse(t, "acme"))
	got := logged(func(l *slog.Logger) {
		parent := l.WithGroup("g").With("a", 1).With("b", 2) // one more would fill the slice that they share
		first, second := parent.With("first", true), parent.With("second", true)
		first.InfoContext(ctx, "")
		second.InfoContext(ctx, "")
	})
	want := `{"tenant":"acme","g":{"a":1,"b":2,"first":true}}` + "\n" + `{"tenant":"acme","g":{"a":1,"b":2,"second":true}}`
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// keep is a handler that keeps the records and writes over the attributes that it
// is given, as it may.
type keep struct {
	slog.Handler
	records *[]slog.Record
}

func (k keep) Handle(ctx context.Context, r slog.Record) error {
	*k.records = append(*k.records, r)
	return k.Handler.Handle(ctx, r)
}

func (k keep) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := k.Handler.WithAttrs(slices.Clone(attrs))
	clear(attrs)
	return keep{next, k.records}
}

func (k keep) WithGroup(g string) slog.Handler { return keep{k.Handler.WithGroup(g), k.records} }

func TestLogHandlerSharesNoRecord(t *testing.T) {
	t.Parallel()
	var r slog.Record
	for i := range 8 { // one by one, so that the record has room for one more
		r.Add("a", i)
	}
	var kept []slog.Record
	h := scope.LogHandler(keep{slog.DiscardHandler, &kept})
	for _, id := range []string{"acme", "globex"} {
		if err := h.Handle(scope.With(t.Context(), parse(t, id)), r); err != nil {
			t.Fatal(err)
		}
		last := slices.Collect(kept[len(kept)-1].Attrs)
		if len(last) != 9 || last[8].Value.String() != id {
			t.Errorf("%s: got %v", id, last)
		}
	}
	if first := slices.Collect(kept[0].Attrs); first[8].Value.String() != "acme" {
		t.Errorf("the first record became %v", first)
	}
}

func TestLogHandlerSharesNoAttributes(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	h := keep{slog.NewJSONHandler(&b, nil), new([]slog.Record)}
	l := slog.New(scope.LogHandler(h)).WithGroup("g").With("a", 1)
	for range 2 {
		b.Reset()
		l.InfoContext(scope.With(t.Context(), parse(t, "acme")), "")
		if !strings.Contains(b.String(), `"tenant":"acme","g":{"a":1}`) {
			t.Errorf("got %s", b.String())
		}
	}
}

func TestNothingToBindIsTheSameHandler(t *testing.T) {
	t.Parallel()
	h := scope.LogHandler(slog.DiscardHandler)
	if h.WithGroup("") != h || h.WithAttrs(nil) != h {
		t.Error("a new handler was made")
	}
}

func TestLogHandlerFromManyGoroutines(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	l := slog.New(scope.LogHandler(slog.NewJSONHandler(&b, nil))).WithGroup("g").With("a", 1)
	var wg sync.WaitGroup
	for _, id := range []string{"acme", "globex", "initech", "umbrella"} {
		ctx := scope.With(t.Context(), parse(t, id))
		wg.Go(func() {
			for range 100 {
				l.InfoContext(ctx, "", "id", id)
			}
		})
	}
	wg.Wait()
	for line := range bytes.Lines(b.Bytes()) {
		var got struct {
			Tenant string
			G      struct{ ID string }
		}
		if err := json.Unmarshal(line, &got); err != nil || got.Tenant == "" || got.Tenant != got.G.ID {
			t.Fatalf("error %v: %s", err, line)
		}
	}
}

func TestLogHandlerAsksNext(t *testing.T) {
	t.Parallel()
	h := scope.LogHandler(slog.NewJSONHandler(failing{}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if h.Enabled(t.Context(), slog.LevelInfo) || !h.Enabled(t.Context(), slog.LevelWarn) {
		t.Error("the level is not that of next")
	}
	ctx := scope.With(t.Context(), parse(t, "acme"))
	for _, h := range []slog.Handler{h, h.WithGroup("g")} {
		if err := h.Handle(ctx, slog.Record{}); !errors.Is(err, errFull) {
			t.Errorf("got error %v, want that of next", err)
		}
	}
}

var errFull = errors.New("disk full")

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errFull }
