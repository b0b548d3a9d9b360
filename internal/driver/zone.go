package driver

import (
	"slices"
	"time"
)

// zone is the time zone that a session has reported.
type zone struct {
	name     string
	location *time.Location // nil if it is not known here
}

// zone returns the time zone in which the lease's statements print times, or nil if it is not known.
func (l *lease) zone() *time.Location {
	if slices.ContainsFunc(l.target.Settings, func(s Setting) bool { return s.Name == "timezone" }) {
		return nil // the server reports only what outlives the statement
	}
	name := l.conn().PgConn().ParameterStatus("TimeZone")
	if z := &l.link.zone; name != z.name {
		*z = zone{name: name}
		switch name {
		case "", "Local":
		case "UTC", "Etc/UTC", "GMT", "Etc/GMT":
			z.location = time.UTC
		default:
			z.location, _ = time.LoadLocation(name) // nil on an error
		}
	}
	return l.link.zone.location
}
