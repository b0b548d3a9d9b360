package driver

import (
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// formats are the settings that decide how the server writes values as text, and how it reads the
// text of statements, with the values that pgx and this package understand. A role, a database or a
// connection string may have others: statements whose results travel as text would then round
// floats or fail, and those whose results are binary would not. "iso" keeps the order of day and
// month in dates that are written otherwise.
var formats = [...]Setting{
	{"datestyle", "iso"},
	{"intervalstyle", "postgres"},
	{"extra_float_digits", "1"},
	{"bytea_output", "hex"},
	{"standard_conforming_strings", "on"},
}

// tracked reports whether poolers carry a setting from one server connection to the next, and so
// accept it as a start-up parameter (the manual of PgBouncer, "ignore_startup_parameters").
func tracked(name string) bool {
	return name == "datestyle" || name == "standard_conforming_strings" || name == "client_encoding"
}

// SetFormats makes connections that are opened with cc write times as pgx reads them, whatever
// the role, the database and the connection string say. It is for connections that send no
// tenant's statements, and sets only what poolers accept.
func SetFormats(cc *pgx.ConnConfig) {
	setParameter(cc, "client_encoding", "UTF8")
	for _, s := range formats {
		if tracked(s.Name) {
			setParameter(cc, s.Name, s.Value)
		}
	}
}

// SetUntrackedFormats sets the rest of the formats, too. A pooler may refuse them ([RefusesParameter]).
func SetUntrackedFormats(cc *pgx.ConnConfig) {
	for _, s := range formats {
		if !tracked(s.Name) {
			setParameter(cc, s.Name, s.Value)
		}
	}
}

// setParameters gives the connection the start-up parameters that this driver needs: the formats,
// and an empty default path, so that whatever escapes a prefix finds no table at all. Poolers may
// refuse what they do not track. The style of dates is not among the parameters: the server would
// forget the order of day and month that the role has. Leases look at it.
func (f *facts) setParameters(cc *pgx.ConnConfig) {
	bare := f.bare.Load()
	setParameter(cc, "client_encoding", "UTF8")
	for _, s := range append(formats[1:len(formats):len(formats)], Setting{searchPath, ""}) {
		dropParameter(cc, s.Name)
		if !bare || tracked(s.Name) {
			setParameter(cc, s.Name, s.Value)
		}
	}
}

// setParameter sets a start-up parameter, in place of one that is spelled otherwise.
func setParameter(cc *pgx.ConnConfig, name, value string) {
	dropParameter(cc, name)
	cc.RuntimeParams[name] = value
}

func dropParameter(cc *pgx.ConnConfig, name string) {
	for other := range cc.RuntimeParams {
		if strings.EqualFold(other, name) {
			delete(cc.RuntimeParams, other)
		}
	}
}

// needsFormats reports whether the formats must travel with each statement: behind a pooler the
// session may have been opened for somebody else, and with any start-up parameters.
func (l *link) needsFormats(c *pgconn.PgConn) bool {
	return l.pooled() || l.pool.bare.Load() || !strings.HasPrefix(c.ParameterStatus("DateStyle"), "ISO")
}
