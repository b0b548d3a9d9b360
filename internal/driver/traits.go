package driver

import (
	"iter"
	"strings"
)

// traits is what a text does beyond its own transaction.
type traits struct {
	commands int  // how many statements it holds
	control  bool // it begins or ends a transaction
	taints   bool // it leaves state in the session, such as SET or PREPARE
	sets     bool // it is SET LOCAL
	code     bool // it runs CALL or DO, whose code may end transactions
	opaque   bool // it runs DO, whose code is text and may do any of this
	streams  bool // it is a COPY whose data travel on the connection
	repeats  bool // it is one statement of the kind that applications send again and again
}

// traitsOf reads the text as far as needed to know its statements' first words.
// It can't see into functions; docs/isolation.md says what that leaves open.
func traitsOf(query string) traits {
	t := traits{taints: namesSessionFunction(query)}
	if plainQuery(query) {
		t.commands, t.repeats = 1, !t.taints
		return t
	}
	declares, copies := false, false // what these do is looked for once, in the whole text
	for c := range commands(query) {
		t.repeats = t.commands == 0 && c.is(0, "select", "insert", "update", "delete", "with", "values") && !t.taints
		t.commands++
		t.control = t.control || c.control()
		t.taints = t.taints || c.taints()
		declares = declares || c.is(0, "declare")
		t.sets = t.sets || c.is(0, "set") && c.is(1, "local")
		t.code = t.code || c.is(0, "call", "do")
		t.opaque = t.opaque || c.is(0, "do")
		copies = copies || c.is(0, "copy")
	}
	t.taints = t.taints || declares && containsFold(query, "hold")
	t.streams = copies && streams(query)
	return t
}

// plainQuery recognises, without reading it all, the one statement that an
// application sends most.
func plainQuery(query string) bool {
	const longest = len("SELECT")
	if len(query) <= longest || wordByte(query[longest]) || strings.IndexByte(query, ';') >= 0 {
		return false
	}
	first := query[:longest]
	return strings.EqualFold(first, "select") || strings.EqualFold(first, "insert") || strings.EqualFold(first, "update") || strings.EqualFold(first, "delete")
}

// namesSessionFunction reports whether the text names a function that leaves
// state in the session: set_config, one of the pg_advisory_lock family, or the
// view whose rows are settings if it may be updated.
func namesSessionFunction(query string) bool {
	view := false
	for from := 0; ; {
		n := strings.IndexByte(query[from:], '_')
		if n < 0 {
			return view && containsFold(query, "update")
		}
		at := from + n
		if around(query, at, "set", "_config") || around(query, at, "advisory", "_lock") {
			return true
		}
		view = view || around(query, at, "pg", "_settings")
		from = at + 1
	}
}

// around reports whether before and after stand around position at, in any case.
func around(s string, at int, before, after string) bool {
	return at >= len(before) && at+len(after) <= len(s) &&
		strings.EqualFold(s[at-len(before):at], before) && strings.EqualFold(s[at:at+len(after)], after)
}

// command is the first three words of a statement.
type command [3]string

func (c command) is(i int, words ...string) bool {
	for _, w := range words {
		if strings.EqualFold(c[i], w) {
			return true
		}
	}
	return false
}

// makesRoutine reports whether the statement is CREATE [OR REPLACE] of a function
// or procedure.
func (c command) makesRoutine() bool {
	return c.is(0, "create") && (c.is(1, "function", "procedure") || c.is(1, "or") && c.is(2, "replace"))
}

func (c command) control() bool {
	if c.is(0, "rollback") {
		return !c.is(1, "to") && !c.is(2, "to")
	}
	return c.is(0, "begin", "start", "commit", "end", "abort") || c.is(0, "prepare") && c.is(1, "transaction")
}

func (c command) taints() bool {
	switch {
	case c.is(0, "set"): // LOCAL may also be the first part of a setting's name
		return !c.is(1, "local", "transaction", "constraints") || c[2] == "."
	case c.is(0, "prepare"):
		return !c.is(1, "transaction")
	case c.is(0, "discard"): // what else it discards is no state of anybody's
		return c.is(1, "all")
	}
	return c.is(0, "reset", "listen", "load", "deallocate")
}

// streams reports whether the text has a COPY from or to the client. The first FROM or
// TO outside of brackets names the other side: both words are reserved.
func streams(query string) bool {
	copying, depth, previous := false, 0, ";"
	for token := range tokens(query) {
		switch {
		case previous == ";":
			copying, depth = strings.EqualFold(token, "copy"), 0
		case token == "(":
			depth++
		case token == ")":
			depth--
		case copying && depth == 0 && (strings.EqualFold(previous, "from") || strings.EqualFold(previous, "to")):
			if strings.EqualFold(token, "stdin") || strings.EqualFold(token, "stdout") {
				return true
			}
			copying = false
		}
		previous = token
	}
	return false
}

// commands yields the statements of a text, split at the semicolons outside
// quotes and comments. The body of BEGIN ATOMIC is split too; its END is left
// out, and with it no other: it would look like the END that commits.
func commands(query string) iter.Seq[command] {
	return func(yield func(command) bool) {
		var c command
		n, bodies := 0, 0 // words seen in this statement, bodies still open
		previous := ""
		for token := range tokens(query) {
			if token == ";" {
				if n > 0 && !yield(c) {
					return
				}
				c, n, previous = command{}, 0, ""
				continue
			}
			switch {
			case strings.EqualFold(token, "atomic") && strings.EqualFold(previous, "begin") && c.makesRoutine():
				bodies++
			case n == 0 && bodies > 0 && strings.EqualFold(token, "end"):
				bodies--
				continue
			}
			if n < len(c) {
				c[n] = token
			}
			n++
			previous = token
		}
		if n > 0 {
			yield(c)
		}
	}
}

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

func wordByte(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '_' || b >= 0x80
}

// quoted returns the length of s up to the end of the quoted part that begins
// at open. A doubled quote is two parts in a row, which comes to the same.
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

// escapeString returns the length of the E'…' at the start of s, with the parts
// that go on in other lines: they read backslashes as the first does.
func escapeString(s string) int {
	end := quoted(s, 1, true)
	for {
		next := end
		for next < len(s) && skip(s[next:]) > 0 {
			next += skip(s[next:])
		}
		if next == len(s) || s[next] != '\'' || !strings.ContainsAny(s[end:next], "\r\n") {
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
