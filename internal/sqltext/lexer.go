package sqltext

import (
	"iter"
	"strings"
)

// tokens yields the words of a text, semicolons, and every other character
// outside quotes and comments; a quoted part is one token.
func tokens(s string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := 0; i < len(s); {
			n := skip(s[i:])
			if n > 0 {
				i += n
				continue
			}
			n = tokenLen(s[i:])
			if !yield(s[i : i+n]) {
				return
			}
			i += n
		}
	}
}

// skip returns the length of the white space or comment at the start of s.
func skip(s string) int {
	switch {
	case strings.ContainsRune(" \t\r\n\f\v", rune(s[0])):
		return 1
	case strings.HasPrefix(s, "--"):
		if end := strings.IndexAny(s, "\r\n"); end >= 0 {
			return end
		}
		return len(s)
	case strings.HasPrefix(s, "/*"):
		return blockComment(s)
	}
	return 0
}

// blockComment returns the length of the comment at the start of s. PostgreSQL
// nests them.
func blockComment(s string) int {
	depth := 0
	for i := 0; i+1 < len(s); i++ {
		switch s[i : i+2] {
		case "/*":
			depth++
			i++
		case "*/":
			depth--
			i++
			if depth == 0 {
				return i + 1
			}
		}
	}
	return len(s)
}

// tokenLen returns the length of the token at the start of s.
func tokenLen(s string) int {
	switch {
	case s[0] == '\'' || s[0] == '"':
		return quoted(s, 0, false)
	case len(s) > 1 && (s[0] == 'e' || s[0] == 'E') && s[1] == '\'':
		return escapeString(s)
	case s[0] == '$':
		return dollarQuoted(s)
	}
	n := 1
	for wordByte(s[0]) && n < len(s) && (wordByte(s[n]) || s[n] == '$') {
		n++
	}
	return n
}

// wordByte reports whether b can be part of a word. Each byte of a character beyond ASCII can.
func wordByte(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '_' || b >= 0x80
}

// quoted returns the length of s up to the end of the quoted part that begins
// at open. A doubled quote ends the part: the next one begins there, and has the same end
// unless backslashes escape.
func quoted(s string, open int, escapes bool) int {
	for i := open + 1; i < len(s); i++ {
		switch {
		case escapes && s[i] == '\\':
			i++
		case s[i] == s[open]:
			return i + 1
		}
	}
	return len(s)
}

// escapeString returns the length of the E'…' at the start of s. Backslashes escape also
// behind a doubled quote, and in a part on another line, which continues the string.
func escapeString(s string) int {
	end := quoted(s, 1, true)
	for {
		next := end
		for next < len(s) && skip(s[next:]) > 0 {
			next += skip(s[next:])
		}
		if next == len(s) || s[next] != '\'' || next > end && !strings.ContainsAny(s[end:next], "\r\n") {
			return end
		}
		end = quoted(s, next, true)
	}
}

// dollarQuoted returns the length of the dollar-quoted part at the start of s,
// or 1 if it is something else, such as a parameter.
func dollarQuoted(s string) int {
	n := 1
	for n < len(s) && wordByte(s[n]) {
		n++
	}
	if n == len(s) || s[n] != '$' || n > 1 && s[1] >= '0' && s[1] <= '9' {
		return 1
	}
	tag := s[:n+1]
	end := strings.Index(s[len(tag):], tag)
	if end < 0 {
		return len(s)
	}
	return len(tag) + end + len(tag)
}

// containsFold reports whether s contains the lower-case ASCII text sub in any
// case.
func containsFold(s, sub string) bool {
	for i := 0; i+len(sub) <= len(s); i++ {
		if s[i]|0x20 == sub[0] && strings.EqualFold(s[i:i+len(sub)], sub) {
			return true
		}
	}
	return false
}

// around reports whether s has before ending at position at, and after beginning there, in any case.
func around(s string, at int, before, after string) bool {
	return at >= len(before) && at+len(after) <= len(s) &&
		strings.EqualFold(s[at-len(before):at], before) && strings.EqualFold(s[at:at+len(after)], after)
}
