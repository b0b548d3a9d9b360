package sqltext

import "strings"

// Literal quotes v as a string constant that has the same value whatever
// standard_conforming_strings is. v must not contain a NUL byte, which PostgreSQL refuses.
func Literal(v string) string {
	v = strings.ReplaceAll(v, "'", "''")
	if strings.Contains(v, `\`) {
		return " E'" + strings.ReplaceAll(v, `\`, `\\`) + "'"
	}
	return "'" + v + "'"
}

// HasLiteral reports whether a text may contain a string constant. The meaning of one can depend on a
// setting, as that of a time depends on the time zone. HasLiteral also returns true for a quote in a comment or a name.
func HasLiteral(query string) bool {
	for i, c := range []byte(query) {
		if c == '\'' || c == '$' && (i+1 == len(query) || query[i+1] < '0' || query[i+1] > '9') {
			return true
		}
	}
	return false
}
