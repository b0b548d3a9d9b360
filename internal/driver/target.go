package driver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/internal/pgerr"
	"github.com/tenantry/tenantry/internal/sqltext"
)

// Locator says where the statements of a scope run. It is called for every
// checkout and must be safe for concurrent use.
type Locator interface {
	Locate(ctx context.Context, s Scope) (Target, error)
}

// Target is one place: a pool, prepared by [PreparePool], and run-time
// settings for each statement or transaction there.
type Target struct {
	Pool     *pgxpool.Pool
	Schema   string    // must exist, or the statement is refused; "" asks for none
	Managed  bool      // a preamble must not create the schema
	Settings []Setting // set in this order
	Lease    Lease     // nil if nobody needs to know when the pool is in use
}

// Lease says that a pool is in use, until Release.
type Lease interface {
	// Keep is called once before the connection goes back. It reports whether
	// the pool may have it; otherwise it is closed.
	Keep() bool
	// Release is called once, last: the connection has gone back, or could not
	// be had.
	Release()
}

// Setting is one run-time setting of PostgreSQL.
type Setting struct{ Name, Value string }

// refusal is a reason to send no statement: a condition that does not hold, or is not known,
// and what the error says. PostgreSQL has no function that raises an error, but where it is
// asked for a setting that does not exist, the name is part of its message in every language. A
// dot would make it a setting of somebody's.
type refusal struct{ unless, words string }

// refusalTemp is what the guard against temporary tables says. It fails when the
// session has ever made one: on a connection from a pool it would be somebody
// else's.
const refusalTemp = "tenantry: the session has temporary tables"

// refusalUsage is what the check of the schema says if the role that the
// statement runs as may not use it. PostgreSQL passes over such a schema in
// search_path as over a missing one.
const refusalUsage = "tenantry: no right to use the schema"

// unless returns the name of search_path as an expression, which is another name, and leads to
// 42704, if there is a reason to refuse. It takes the server much less time than a cast that
// fails.
func unless(refusals []refusal) string {
	if len(refusals) == 0 {
		return "'" + searchPath + "'"
	}
	var b strings.Builder
	b.WriteString("case")
	for _, r := range refusals {
		b.WriteString(" when (" + r.unless + ") is not true then '" + r.words + "'")
	}
	b.WriteString(" else '" + searchPath + "' end")
	return b.String()
}

// RefuseUnless returns an expression that fails unless the condition holds. [Refuses] knows the
// error by the words.
func RefuseUnless(condition, words string) string {
	return "pg_catalog.current_setting(" + unless([]refusal{{condition, words}}) + ")"
}

// ownError is an error of a statement of this package: what the filter has seen tells it from one
// of an application's statement, whose words may be anybody's.
type ownError struct{ err error }

func (e *ownError) Error() string { return e.err.Error() }
func (e *ownError) Unwrap() error { return e.err }

// Refuses reports whether err is a refusal with these words.
func Refuses(err error, words string) bool {
	var own *ownError
	var pgErr *pgconn.PgError
	return err != nil && errors.As(err, &own) && errors.As(own.err, &pgErr) && pgErr.Code == pgerr.UndefinedObject && strings.Contains(pgErr.Message, words)
}

const searchPath = "search_path"

// discardTemp drops temporary tables. It stands in front of the settings where
// the session behind a pooler may be anybody's.
const discardTemp = "discard temp"

// hygiene says how a prefix treats temporary tables that the session may hold.
type hygiene int

const (
	trusting hygiene = iota // the session is this lease's, and its temporary tables with it
	guarded                 // refuse a session that ever had temporary tables
	cleaned                 // drop them first
)

// check refuses a target whose settings can't be sent.
func (t *Target) check() error {
	if t.Pool == nil {
		return errors.New("the strategy returned no pool")
	}
	for _, s := range t.Settings {
		if err := checkSetting(s); err != nil {
			return err
		}
	}
	return nil
}

// script returns what applies the settings as text, for the simple protocol.
func (t *Target) script(p Preamble, d duration, h hygiene) string {
	s, first, end := t.query(p, d, h, sqltext.Literal), "", ""
	if s != "" {
		end = "; "
	}
	if h == cleaned {
		first = discardTemp + "; "
	}
	return first + s + end
}

// duration says for how long a setting holds: set_config's third argument.
type duration string

const (
	local   duration = "true"  // to the end of the transaction
	session duration = "false" // until it is reset
)

// checkSetting refuses what can't be sent. Names go into SQL as they are.
func checkSetting(s Setting) error {
	for i, c := range []byte(s.Name) {
		letter := c >= 'a' && c <= 'z' || c == '_'
		if !letter && (i == 0 || c != '.' && (c < '0' || c > '9')) {
			return fmt.Errorf("setting %q is not the name of a setting: a-z, 0-9, '_' and '.' are allowed", s.Name)
		}
	}
	if s.Name == "" {
		return errors.New("a setting has no name")
	}
	if strings.ContainsRune(s.Value, 0) {
		return fmt.Errorf("the value of setting %q has a NUL byte", s.Name)
	}
	return nil
}

// typical is how long the query is as a rule, or a little less.
const typical = 512

// query returns the one query that sets everything, or "" if there is nothing
// to set. The check of the schema fails with 3F000 when it does not
// exist: PostgreSQL itself would ignore the missing entry of search_path and
// go on to the next schema. What stands behind a set_config runs under it: so
// search_path, which says nothing about the checks, comes last, and they are part of its name.
func (t *Target) query(p Preamble, d duration, h hygiene, value func(string) string) string {
	var b strings.Builder
	b.Grow(typical)
	sep := "select "
	add := func(parts ...string) {
		b.WriteString(sep)
		for _, p := range parts {
			b.WriteString(p)
		}
		sep = ","
	}
	if p.Lead != "" {
		add(p.Lead)
	}
	last := len(t.Settings) - 1
	for i, s := range t.ordered() {
		if i < last || s.Name != searchPath {
			add("pg_catalog.set_config('", s.Name, "',", value(s.Value), ",", string(d), ")")
			continue
		}
		path := value(s.Value)
		add("pg_catalog.set_config(", unless(t.refusals(p, h, value)), ",", path, ",", string(d), ")")
		return b.String()
	}
	if refusals := t.refusals(p, h, value); len(refusals) > 0 {
		add("pg_catalog.current_setting(", unless(refusals), ")")
	}
	return b.String()
}

// ordered returns the settings in the order in which they are set.
func (t *Target) ordered() []Setting {
	i := t.pathAt()
	if i < 0 || i == len(t.Settings)-1 {
		return t.Settings
	}
	return slices.Concat(t.Settings[:i], t.Settings[i+1:], t.Settings[i:i+1])
}

// pathAt returns where search_path stands among the settings, the last one if there are more, or
// -1.
func (t *Target) pathAt() int {
	for i := len(t.Settings) - 1; i >= 0; i-- {
		if t.Settings[i].Name == searchPath {
			return i
		}
	}
	return -1
}

// refusals returns why a statement would not be sent, in the order in which it is looked at.
func (t *Target) refusals(p Preamble, h hygiene, value func(string) string) (all []refusal) {
	if p.Unless != "" {
		all = append(all, refusal{p.Unless, p.Words})
	}
	if h == guarded {
		all = append(all, refusal{"pg_catalog.pg_my_temp_schema()=0", refusalTemp})
	}
	if t.Schema != "" {
		all = append(all, refusal{"pg_catalog.has_schema_privilege(" + value(t.Schema) + "::pg_catalog.text,'usage')", refusalUsage})
	}
	return all
}

// arguments appends the parameters of the query, in its order.
func (t *Target) arguments(to []string) []string {
	for _, s := range t.ordered() {
		to = append(to, s.Value)
	}
	if t.Schema != "" {
		to = append(to, t.Schema)
	}
	return to
}

// leadsToOneSchema reports whether a name in a text can mean one table only. With more
// than one schema in the path a table that appears in the first one hides that of the
// second from new plans, but not from those that the server has kept.
func (t *Target) leadsToOneSchema() bool {
	i := t.pathAt()
	return i < 0 || strings.Count(t.Settings[i].Value, ",") == 1 && strings.HasSuffix(t.Settings[i].Value, ", pg_temp")
}

// key tells targets of one scope apart by their settings.
func (t *Target) key() string {
	if len(t.Settings) == 1 && t.Settings[0].Name == searchPath {
		return t.Settings[0].Value
	}
	var b strings.Builder
	for _, s := range t.Settings {
		b.WriteString(s.Name)
		b.WriteByte(0)
		b.WriteString(s.Value)
		b.WriteByte(0)
	}
	return b.String()
}

// reset returns the script that takes back the settings of a session.
func (t *Target) reset() string {
	var b strings.Builder
	for _, s := range t.Settings {
		b.WriteString("reset " + s.Name + "; ")
	}
	return b.String()
}
