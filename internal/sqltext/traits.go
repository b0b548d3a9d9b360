package sqltext

import (
	"iter"
	"strings"
)

// Traits says what a text does besides reading and writing tables.
type Traits struct {
	Commands     int  // the number of statements
	Control      bool // a statement begins or ends a transaction
	SessionState bool // a statement leaves state in the session, such as SET or PREPARE
	Sets         bool // a statement is SET LOCAL
	Code         bool // a statement is CALL or DO: its code can end transactions
	HasDo        bool // a statement is DO: its code is text and can do all of this, unseen
	Copies       bool // a statement is COPY FROM STDIN or TO STDOUT: its data travel on the connection
	Repeats      bool // the text is one statement of a kind that applications send repeatedly
}

// Scan returns the traits of a text. It reads the first words of each statement and
// looks for the names of functions that leave state in the session; it does not see
// what other functions do. It takes time linear in the length of the text, and accepts any text.
// Strings without E count as standard: standard_conforming_strings must be on.
func Scan(query string) Traits {
	t := Traits{SessionState: namesSessionFunction(query)}
	if isPlain(query) {
		t.Commands, t.Repeats = 1, !t.SessionState
		return t
	}
	declares, copies := false, false // DECLARE and COPY need a second look, at the whole text, once
	for c := range commands(query) {
		t.Repeats = t.Commands == 0 && c.is(0, "select", "insert", "update", "delete", "with", "values") && !t.SessionState
		t.Commands++
		t.Control = t.Control || c.isControl()
		t.SessionState = t.SessionState || c.leavesState()
		declares = declares || c.is(0, "declare")
		t.Sets = t.Sets || c.is(0, "set") && c.is(1, "local")
		t.Code = t.Code || c.is(0, "call", "do")
		t.HasDo = t.HasDo || c.is(0, "do")
		copies = copies || c.is(0, "copy")
	}
	t.SessionState = t.SessionState || declares && containsFold(query, "hold")
	t.Copies = copies && copiesData(query)
	return t
}

// isPlain reports whether a text is one SELECT, INSERT, UPDATE or DELETE. These are most
// of what applications send, and isPlain does not split them into words. It may return
// false for such a text too.
func isPlain(query string) bool {
	const longest = len("SELECT")
	if len(query) <= longest || wordByte(query[longest]) || query[longest] == '$' || strings.IndexByte(query, ';') >= 0 {
		return false
	}
	first := query[:longest]
	return strings.EqualFold(first, "select") || strings.EqualFold(first, "insert") || strings.EqualFold(first, "update") || strings.EqualFold(first, "delete")
}

// namesSessionFunction reports whether the text names a function that leaves
// state in the session: set_config, or one of the pg_advisory_lock family. It also looks for
// an UPDATE together with pg_settings, the view whose rows are settings.
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

// command is the first four words of a statement.
type command [4]string

// is reports whether word i of the statement is one of words, in any case.
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
	return c.is(0, "create") && (c.is(1, "function", "procedure") || c.is(1, "or") && c.is(2, "replace") && c.is(3, "function", "procedure"))
}

// isControl reports whether the statement begins or ends a transaction.
func (c command) isControl() bool {
	if c.is(0, "rollback") {
		return !c.is(1, "to") && !c.is(2, "to")
	}
	return c.is(0, "begin", "start", "commit", "end", "abort") || c.is(0, "prepare") && c.is(1, "transaction")
}

// leavesState reports whether the statement leaves state in the session.
func (c command) leavesState() bool {
	switch {
	case c.is(0, "set"): // LOCAL may also be the first part of a setting's name
		return !c.is(1, "local", "transaction", "constraints") || c[2] == "."
	case c.is(0, "prepare"):
		return !c.is(1, "transaction")
	case c.is(0, "discard"): // TEMP, PLANS and SEQUENCES leave nothing behind
		return c.is(1, "all")
	}
	return c.is(0, "reset", "listen", "load", "deallocate")
}

// copiesData reports whether the text has a COPY from or to the client. The first FROM or
// TO outside parentheses names the other side: both words are reserved.
func copiesData(query string) bool {
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
// quotes and comments. It splits the body of BEGIN ATOMIC too, but leaves out the END of
// the body, which would look like the END that commits.
func commands(query string) iter.Seq[command] {
	return func(yield func(command) bool) {
		var c command
		n, depth := 0, 0 // words of this statement so far, open parentheses
		body := false    // within BEGIN ATOMIC: bodies do not nest
		previous := ""
		for token := range tokens(query) {
			if token == ";" {
				if n > 0 && !yield(c) {
					return
				}
				c, n, depth, previous = command{}, 0, 0, ""
				continue
			}
			switch {
			case token == "(":
				depth++
			case token == ")":
				depth--
			case depth == 0 && strings.EqualFold(token, "atomic") && strings.EqualFold(previous, "begin") && c.makesRoutine():
				body = true
			case body && strings.EqualFold(token, "end") && n == 0:
				body = false
				continue
			case body && strings.EqualFold(token, "end") && strings.EqualFold(previous, "atomic"): // an empty body
				body = false
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
