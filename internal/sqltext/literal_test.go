package sqltext_test

import (
	"testing"

	"github.com/tenantry/tenantry/internal/sqltext"
)

func TestLiteral(t *testing.T) {
	t.Parallel()
	for v, want := range map[string]string{
		"":        "''",
		"a":       "'a'",
		"o'hara":  "'o''hara'",
		`a\b`:     ` E'a\\b'`,
		`\'; --`:  ` E'\\''; --'`,
		"$$;$$":   "'$$;$$'",
		"é\n/* ;": "'é\n/* ;'",
	} {
		if got := sqltext.Literal(v); got != want {
			t.Errorf("%q: got %s, want %s", v, got, want)
		}
	}
}

// FuzzLiteral checks that nothing of a value gets out of its quotes.
func FuzzLiteral(f *testing.F) {
	f.Add(`'; commit; --`)
	f.Add(`\'; commit; --`)
	f.Fuzz(func(t *testing.T, v string) {
		query := "call p(" + sqltext.Literal(v) + "); commit"
		got := sqltext.Scan(query)
		got.SessionState = false // the names of functions count inside quotes too
		if want := (sqltext.Traits{Commands: 2, Control: true, Code: true}); got != want {
			t.Errorf("%s: got %+v, want %+v", query, got, want)
		}
	})
}

func TestHasLiteral(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]bool{
		"":                             false,
		"select a from t where b = $1": false,
		"select $12":                   false,
		"select '2026-01-01'::date":    true,
		"select e'x'":                  true,
		"select $$x$$":                 true,
		"select $a$x$a$":               true,
		"select $":                     true,
	} {
		if got := sqltext.HasLiteral(query); got != want {
			t.Errorf("%q: got %t, want %t", query, got, want)
		}
	}
}
