package driver

import (
	"net/url"
	"strings"
)

// commented returns query with the tenant behind it in sqlcommenter's form
// (https://google.github.io/sqlcommenter/spec/), so that whatever shows the server's
// statements shows whose they are.
func commented(query string, s Scope) string {
	if s.Shared {
		return query
	}
	space := " "
	if strings.Contains(query, "--") { // it may end in a comment up to the end of the line
		space = "\n"
	}
	return query + space + "/*tenant='" + url.QueryEscape(s.Tenant.String()) + "'*/"
}
