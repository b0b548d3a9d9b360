package scope_test

import (
	"context"
	"errors"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/scope"
)

func mustKey(t *testing.T, ctx context.Context, parts ...string) string {
	t.Helper()
	k, err := scope.Key(ctx, parts...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestKeysHaveTheDocumentedForm(t *testing.T) {
	t.Parallel()
	ctx := scope.With(t.Context(), parse(t, "acme"))
	for _, tc := range []struct {
		parts []string
		want  string
	}{
		{nil, "acme/"},
		{[]string{""}, "acme/!"},
		{[]string{"", ""}, "acme/!/!"},
		{[]string{"invoices", "7.pdf"}, "acme/invoices/7.pdf"},
		{[]string{"a/b", "c"}, "acme/a!2Fb/c"},
		{[]string{"a", "b/c"}, "acme/a/b!2Fc"},
		{[]string{"..", "globex"}, "acme/!2E./globex"},
		{[]string{"../globex"}, "acme/!2E.!2Fglobex"},
		{[]string{".", ".env", "a..b", "a."}, "acme/!2E/!2Eenv/a..b/a."},
		{[]string{"!", "%2F", "a b", "*", `\`, "\x00"}, "acme/!21/!252F/a!20b/!2A/!5C/!00"},
		{[]string{"Ab_9-z", "é", "\xff"}, "acme/Ab_9-z/!C3!A9/!FF"},
	} {
		if got := mustKey(t, ctx, tc.parts...); got != tc.want {
			t.Errorf("%q: got %q, want %q", tc.parts, got, tc.want)
		}
	}
	if got := mustKey(t, scope.Shared(t.Context()), "plans"); got != "_shared/plans" {
		t.Errorf("shared: got %q", got)
	}
}

func TestThereIsNoKeyWithoutAScope(t *testing.T) {
	t.Parallel()
	for _, ctx := range []context.Context{t.Context(), scope.With(scope.Shared(t.Context()), scope.Tenant{})} {
		if k, err := scope.Key(ctx, "a"); !errors.Is(err, scope.ErrNone) || k != "" {
			t.Errorf("got %q, error %v", k, err)
		}
	}
}

// FuzzKey reads each key back, which proves that no two lists of parts share one,
// and looks at whose it is.
func FuzzKey(f *testing.F) {
	for _, parts := range []string{"", "a", "a\nb", "..\nglobex", "../globex", "\n", "!2F", "%2e%2e", "./x\n.", `..\x`, "é\xff"} {
		f.Add("acme", parts)
	}
	f.Fuzz(func(t *testing.T, id, lines string) {
		tenant, err := scope.Parse(id)
		if err != nil {
			return
		}
		var parts []string
		if lines != "" {
			parts = strings.Split(lines, "\n")
		}
		key := mustKey(t, scope.With(t.Context(), tenant), parts...)
		owner, back := readKey(t, key)
		if owner != id || !slices.Equal(back, parts) {
			t.Fatalf("%q of %q is the key %q, which reads %q of %q", parts, id, key, back, owner)
		}
		mustStay(t, key, len(parts) == 0)
		if shared := mustKey(t, scope.Shared(t.Context()), parts...); strings.TrimPrefix(shared, "_shared") != strings.TrimPrefix(key, id) {
			t.Errorf("shared: %q beside %q", shared, key)
		}
	})
}

// mustStay puts key through what lies between a program and its store.
func mustStay(t *testing.T, key string, prefix bool) {
	t.Helper()
	clean := key
	if prefix {
		clean = strings.TrimSuffix(key, "/")
	}
	decoded, err := url.PathUnescape(key)
	if err != nil || decoded != key || path.Clean(clean) != clean || path.Join("/", clean) != "/"+clean || !filepath.IsLocal(key) {
		t.Errorf("%q is changed on its way: decoded %q, error %v, clean %q", key, decoded, err, path.Clean(clean))
	}
	if strings.ContainsAny(key, "*?[]{}%#&:\\\x00\r\n ") {
		t.Errorf("%q has bytes that mean something elsewhere", key)
	}
}

// readKey is the reverse of Key.
func readKey(t *testing.T, key string) (owner string, parts []string) {
	t.Helper()
	owner, rest, ok := strings.Cut(key, "/")
	if !ok {
		t.Fatalf("%q has no '/'", key)
	}
	if rest == "" {
		return owner, nil
	}
	for part := range strings.SplitSeq(rest, "/") {
		parts = append(parts, readPart(t, part))
	}
	return owner, parts
}

func readPart(t *testing.T, part string) string {
	t.Helper()
	if part == "!" {
		return ""
	}
	before, escaped, found := strings.Cut(part, "!")
	if !found {
		return part
	}
	c, err := strconv.ParseUint(escaped[:2], 16, 8)
	if err != nil {
		t.Fatal(err)
	}
	if escaped[2:] == "" {
		return before + string([]byte{byte(c)})
	}
	return before + string([]byte{byte(c)}) + readPart(t, escaped[2:])
}
