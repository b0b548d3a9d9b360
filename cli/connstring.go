package cli

import (
	"net/url"
	"strings"
)

// keywords returns what a connection string that pgx has accepted says, by
// libpq's keywords.
func keywords(connString string) map[string]string {
	if strings.HasPrefix(connString, "postgres://") || strings.HasPrefix(connString, "postgresql://") {
		return urlKeywords(connString)
	}
	found := map[string]string{}
	for rest := connString; ; {
		name, value, more := strings.Cut(rest, "=")
		if !more {
			return found
		}
		value, rest = cutValue(strings.TrimLeft(value, " \t\n\r"))
		found[strings.TrimSpace(name)] = value
	}
}

func urlKeywords(connString string) map[string]string {
	found := map[string]string{}
	u, err := url.Parse(connString)
	if err != nil {
		return found
	}
	// libpq and pgx do not read "+" as a space in a query, net/url does.
	query, err := url.ParseQuery(strings.ReplaceAll(u.RawQuery, "+", "%2B"))
	if err != nil {
		return found
	}
	for name, values := range query {
		found[name] = values[0]
	}
	return found
}

// cutValue returns the value with which text begins, and what follows it.
func cutValue(text string) (value, rest string) {
	quoted := strings.HasPrefix(text, "'")
	text = strings.TrimPrefix(text, "'")
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text):
			i++
			b.WriteByte(text[i])
		case quoted && c == '\'', !quoted && strings.IndexByte(" \t\n\r", c) >= 0:
			return b.String(), text[i+1:]
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), ""
}
