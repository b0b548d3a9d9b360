package catalog

import "strings"

// Reserved returns the names that no customer may take, in ids and in hosts, to
// which [WithReserved] adds.
func Reserved() []string {
	return []string{
		"about", "account", "admin", "administrator", "api", "app", "apps", "assets", "auth",
		"autoconfig", "autodiscover", "billing", "blog", "cdn", "contact", "dashboard", "dev",
		"dns", "docs", "email", "example", "ftp", "git", "graphql", "help", "hostmaster", "id",
		"imap", "info", "internal", "isatap", "localhost", "login", "logout", "m", "mail", "main",
		"master", "metrics", "mobile", "mx", "noc", "ns", "ns1", "ns2", "oauth", "operator",
		"ops", "pop", "pop3", "portal", "postgres", "postmaster", "public", "register", "root",
		"secure", "security", "shared", "shop", "signin", "signup", "smtp", "sso", "staging",
		"static", "stats", "status", "store", "support", "system", "template0", "template1",
		"tenantry", "test", "webmail", "webmaster", "wpad", "www", "www1", "www2",
	}
}

// reservedNames answers for one catalog.
type reservedNames map[string]bool

func newReserved(more []string) reservedNames {
	r := reservedNames{}
	for _, name := range append(Reserved(), more...) {
		r[name] = true
	}
	return r
}

// covers reports whether name is reserved, or lies below a reserved domain.
func (r reservedNames) covers(name string) bool {
	if r[name] {
		return true
	}
	for rest, below := name, true; below; {
		_, rest, below = strings.Cut(rest, ".")
		if below && strings.Contains(rest, ".") && r[rest] {
			return true
		}
	}
	return false
}
