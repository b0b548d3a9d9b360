// Package dsn changes single parts of a PostgreSQL connection string and keeps
// all others, whether the string is a URL or a list of keywords and values
// ("Connection Strings" in PostgreSQL's manual, chapter libpq). The result has
// the form of the input.
//
// Its errors never quote the string: it may hold a password.
package dsn

import (
	"errors"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrInvalid says that a text is no connection string.
var ErrInvalid = errors.New("dsn: not a PostgreSQL connection string, in neither URL nor keyword form (not shown: it may hold a password)")

// WithDatabase returns s for the database name.
func WithDatabase(s, name string) (string, error) {
	return change(s, part{"dbname", name})
}

// With returns s with another value for keyword, be it a part of the connection, such as
// user, or a run-time setting, such as application_name. A new user has no password.
func With(s, keyword, value string) (string, error) {
	return change(s, part{keyword, value})
}

// WithAddress returns s for the server at addr, which is host:port. User and
// password are written into the result, because a password file
// would not know them for the new address.
func WithAddress(s, addr string) (string, error) {
	config, err := Parse(s)
	if err != nil {
		return "", err
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", err
	}
	parts := []part{{"host", host}, {"port", port}, {"user", config.User}}
	if config.Password != "" {
		parts = append(parts, part{"password", config.Password})
	}
	return change(s, parts...)
}

// URL returns the URL form of a connection string for a server on a TCP
// address (host:port), without TLS.
func URL(addr, user, password, database string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(user, password),
		Host:     addr,
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Parse reads s as pgx does, with what environment variables and the password
// file add. Its error is ErrInvalid.
func Parse(s string) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(s)
	if err != nil {
		return nil, ErrInvalid // pgx masks passwords on a best-effort basis only
	}
	return config, nil
}

// Address returns the network and the address of the first server that s
// names, as [net.Dial] takes them.
func Address(s string) (network, address string, err error) {
	config, err := Parse(s)
	if err != nil {
		return "", "", err
	}
	network, address = pgconn.NetworkAddress(config.Host, config.Port)
	return network, address, nil
}

// part is one keyword of a connection string and its value.
type part struct{ keyword, value string }

func change(s string, parts ...part) (string, error) {
	if _, err := Parse(s); err != nil {
		return "", err
	}
	if strings.HasPrefix(s, "postgres://") || strings.HasPrefix(s, "postgresql://") {
		return changeURL(s, parts)
	}
	return changeKeywords(s, parts), nil
}

// changeKeywords appends: the last value of a keyword counts.
func changeKeywords(s string, parts []part) string {
	quote := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	for _, p := range parts {
		s += " " + p.keyword + "='" + quote.Replace(p.value) + "'"
	}
	return s
}

// changeURL puts each part where a URL has it, and takes it out of the query,
// where it would count more.
func changeURL(s string, parts []part) (string, error) {
	u, err := url.Parse(s)
	if err != nil {
		return "", ErrInvalid
	}
	// libpq and pgx do not read "+" as a space in a query, net/url does.
	query, err := url.ParseQuery(strings.ReplaceAll(u.RawQuery, "+", "%2B"))
	if err != nil {
		return "", ErrInvalid
	}
	for _, p := range parts {
		query.Del(p.keyword)
		if !setURL(u, p) {
			query.Set(p.keyword, p.value)
		}
	}
	if slices.ContainsFunc(parts, func(p part) bool { return p.keyword == "dbname" }) {
		query.Del("database") // pgx's own name for it
	}
	u.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20")
	return u.String(), nil
}

// setURL reports whether a URL has a place of its own for p.
func setURL(u *url.URL, p part) bool {
	switch p.keyword {
	case "dbname":
		u.Path, u.RawPath = "/"+p.value, ""
	case "host":
		u.Host = net.JoinHostPort(p.value, u.Port())
	case "port":
		u.Host = net.JoinHostPort(u.Hostname(), p.value)
	case "user":
		u.User = url.User(p.value)
	case "password":
		u.User = url.UserPassword(u.User.Username(), p.value)
	default:
		return false
	}
	return true
}
