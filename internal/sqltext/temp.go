package sqltext

import (
	"slices"
	"strings"
)

// TempNames returns the names of the temporary tables, views and sequences that a text
// creates, as the text writes them, without their schema. It also returns a name whose schema
// is written with Unicode escapes, since that may be pg_temp. CREATE and INTO are reserved words:
// outside quotes they mean nothing else.
func TempNames(query string) (names []string) {
	if !saysTemp(query) && !strings.Contains(query, "&") { // U&"pg\005ftemp"
		return nil
	}
	words := slices.Collect(tokens(query))
	for i := range words {
		var at int
		var temporary bool
		switch {
		case strings.EqualFold(words[i], "create"):
			at, temporary = afterCreate(words, i+1)
		case strings.EqualFold(words[i], "into") && !named(words, i-1, "insert", "merge"):
			at, temporary = afterTemp(words, i+1)
			at = pass(words, at, "table")
		default:
			continue
		}
		qualifiers, name := nameAt(words, at)
		if name != "" && (temporary || slices.ContainsFunc(qualifiers, isTempSchema)) {
			names = append(names, name)
		}
	}
	return names
}

// saysTemp reports whether a text contains "temp" in any case. It looks for the letter P, which is rare in
// most statements.
func saysTemp(query string) bool {
	for _, p := range []byte{'p', 'P'} {
		for from := 0; ; {
			n := strings.IndexByte(query[from:], p)
			if n < 0 {
				break
			}
			if around(query, from+n, "tem", "") {
				return true
			}
			from += n + 1
		}
	}
	return false
}

// afterCreate returns the position of the name in the CREATE of a relation, whose next word is at
// position at, and whether the relation is TEMP. The position is past the end for anything else.
func afterCreate(words []string, at int) (int, bool) {
	if named(words, at, "or") && named(words, at+1, "replace") {
		at += 2
	}
	at, temporary := afterTemp(words, at)
	for named(words, at, "unlogged", "foreign", "materialized", "recursive") {
		at++
	}
	if !named(words, at, "table", "view", "sequence") {
		return len(words), false
	}
	at++
	if named(words, at, "if") && named(words, at+1, "not") && named(words, at+2, "exists") {
		at += 3
	}
	return at, temporary
}

// afterTemp skips [LOCAL | GLOBAL] TEMP | TEMPORARY, and reports whether it was there.
func afterTemp(words []string, at int) (int, bool) {
	next := pass(words, at, "local", "global")
	if named(words, next, "temp", "temporary") {
		return next + 1, true
	}
	return at, false
}

// pass skips one of the words.
func pass(words []string, at int, options ...string) int {
	if named(words, at, options...) {
		at++
	}
	return at
}

// named reports whether the word at a position is one of the options, in any case.
func named(words []string, at int, options ...string) bool {
	return at >= 0 && at < len(words) && slices.ContainsFunc(options, func(o string) bool { return strings.EqualFold(words[at], o) })
}

// nameAt returns the qualified name at a position. name is "" if there is none.
func nameAt(words []string, at int) (qualifiers []string, name string) {
	for at < len(words) {
		if name = words[at]; name[0] != '"' && !wordByte(name[0]) {
			return nil, ""
		}
		at++
		if strings.EqualFold(name, "u") && named(words, at, "&") && at+1 < len(words) {
			name, at = "U&"+words[at+1], at+2
		}
		for at < len(words) && words[at][0] == '"' { // a doubled quote is two tokens
			name += words[at]
			at++
		}
		if !named(words, at, ".") {
			return qualifiers, name
		}
		qualifiers = append(qualifiers, name)
		at++
	}
	return nil, ""
}

// isTempSchema reports whether a name is pg_temp, or a session's own name for it, such as
// pg_temp_3. A name with Unicode escapes may be one.
func isTempSchema(name string) bool {
	if strings.HasPrefix(name, `"`) {
		return strings.HasPrefix(strings.Trim(name, `"`), "pg_temp")
	}
	return strings.HasPrefix(strings.ToLower(name), "pg_temp") || IsEscaped(name)
}

// IsEscaped reports whether a name from [TempNames] is written with Unicode escapes.
func IsEscaped(name string) bool { return strings.HasPrefix(name, `U&"`) }
