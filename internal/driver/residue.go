package driver

import "github.com/jackc/pgx/v5/pgconn"

// reported are the parameters whose values PostgreSQL reports whenever they change (the manual,
// Asynchronous Operations); those that a version does not report are empty all the time. What a
// function has left in one of them is seen without asking.
var reported = [...]string{
	"application_name", "client_encoding", "DateStyle", "default_transaction_read_only", "IntervalStyle",
	"is_superuser", "search_path", "session_authorization", "standard_conforming_strings", "TimeZone",
}

func parametersOf(c *pgconn.PgConn) (values [len(reported)]string) {
	for i, name := range reported {
		values[i] = c.ParameterStatus(name)
	}
	return values
}

// noteParameters is called when the session is taken: hooks of the pool may have set some.
func (l *link) noteParameters(c *pgconn.PgConn) {
	if l.filter.Reported() {
		l.params = parametersOf(c)
	}
}

// isChanged reports whether the session has other parameters than when it was taken, for the next
// tenant to meet. Behind a pooler they are the pooler's affair.
func (l *lease) isChanged() bool {
	return l.link.filter.Reported() && !l.link.pooled() && parametersOf(l.conn().PgConn()) != l.link.params
}
