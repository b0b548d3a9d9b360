package doctor

import (
	"regexp"
	"strings"
)

// word matches what the source of a PL/pgSQL function consists of: space and comments, which have no
// part in it, strings, quoted names, words, and single characters.
var word = regexp.MustCompile(`(?s)\s+|--[^\n]*|/\*.*?\*/|'[^']*'|"[^"]*"|[\p{L}\p{N}_$]+|.`)

// plpgsqlWords returns the words and characters of a source, words in lower case, without space,
// comments and strings.
func plpgsqlWords(source string) (words []string) {
	for _, w := range word.FindAllString(source, -1) {
		switch {
		case strings.TrimSpace(w) == "", strings.HasPrefix(w, "--"), strings.HasPrefix(w, "/*"), w[0] == '\'':
		case w[0] == '"':
			words = append(words, w)
		default:
			words = append(words, strings.ToLower(w))
		}
	}
	return words
}
