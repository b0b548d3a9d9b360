package driver

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tenantry/tenantry/internal/pgerr"
	"github.com/tenantry/tenantry/internal/sqltext"
	"github.com/tenantry/tenantry/internal/wire"
)

// do sends s, again and in another form where retry.go says so. Every statement goes this way.
func (c *conn) do(ctx context.Context, s *statement) error {
	if c.phase() == txPending && !s.form.simple() && !c.tx.preamble.empty() {
		if err := c.beginNow(ctx); err != nil {
			return err
		}
	}
	var tries [reasons]int
	for {
		if err := c.encode(ctx, s); err != nil {
			return err
		}
		r := c.exchange(ctx, s)
		why := c.reason(ctx, s, r)
		if tries[why] >= limits[why][c.phase()] {
			return c.settle(ctx, s, r)
		}
		tries[why]++
		again, err := c.prepareRetry(ctx, why, s, r)
		if err != nil {
			return c.settle(ctx, s, reply{err: err})
		}
		if !again {
			return c.settle(ctx, s, r)
		}
	}
}

// reply is what came of sending a statement once.
type reply struct {
	err      error
	sent     bool // something was written
	first    byte // the kind of the server's first message, 0 if there was none
	ours     bool // a statement of this package was refused, in front of the application's
	unparsed bool // a text was refused as a whole, with what is in front of it
	unbound  bool // the session's kept statement was not executed
}

// exchange sends s once, and returns when the server's first reply to it is in.
func (c *conn) exchange(ctx context.Context, s *statement) (r reply) {
	if s.form.simple() {
		return c.exchangeText(ctx, s)
	}
	l := c.lease
	g, err := c.compose(s)
	if err != nil {
		return reply{err: err}
	}
	if c.phase() == txPending {
		c.tx.show(ctx, l)
	}
	f := l.link.filter
	f.Arm(g)
	switch s.form {
	case asQuery:
		s.rows, err = l.from.std.QueryContext(ctx, s.query, s.named)
	case asExec:
		s.result, err = l.from.std.ExecContext(ctx, s.query, s.named)
	case asText:
		var rows pgx.Rows
		if rows, err = l.conn().Query(ctx, s.query, pgx.QueryExecModeExec); err == nil { // pgx's Exec would send a simple message
			rows.Close()
			s.result, err = driver.RowsAffected(rows.CommandTag().RowsAffected()), rows.Err()
		}
	case asDescribe:
		var sd *pgconn.StatementDescription
		if sd, err = l.conn().Prepare(ctx, "", s.query); err == nil {
			s.types = sd.ParamOIDs
		}
	case asColumn:
		var rows pgx.Rows
		if rows, err = l.conn().Query(ctx, s.query, pgx.QueryExecModeExec); err == nil {
			s.column, err = pgx.CollectRows(rows, pgx.RowTo[string])
		}
	}
	return c.read(g, retryable(err))
}

// read notes what the filter has seen of a group, and which names the session keeps now.
func (c *conn) read(g wire.Group, err error) reply {
	l, f := c.lease, c.lease.link.filter
	sent := f.Disarm()
	if !sent && err == nil {
		l.tainted = true
		err = errors.New("tenantry: a statement passed without its settings; this is a bug of tenantry")
	}
	passed := f.Passed() && (err == nil || pgerr.Code(err) != "")
	if sent {
		l.link.names.settle(f, passed, err == nil)
	}
	if passed {
		l.fresh = false
	}
	return reply{err: err, first: f.First(), ours: f.PrefixFailed(), unbound: g.Kept != nil && f.Unbound()}.owned()
}

// exchangeText sends s once, in a simple message.
func (c *conn) exchangeText(ctx context.Context, s *statement) reply {
	l := c.lease
	switch {
	case s.form == asSession:
		return l.exchangeInSession(ctx, s)
	case c.phase() == txPending:
		return c.tx.exchangeFirst(ctx, l, s)
	case c.phase() == txOpen:
		return l.exchangeScript(ctx, "", s, nil)
	}
	return l.exchangeScript(ctx, l.target.script(Preamble{}, local, l.temp(s)), s, nil)
}

// exchangeScript sends lead, which is this package's, and the text of s in one message. rows gets
// what lead copies; nil if it copies nothing.
func (l *lease) exchangeScript(ctx context.Context, lead string, s *statement, rows func([]string) error) (r reply) {
	tag, _ := l.traced(ctx, s.query, func(ctx context.Context) (tag pgconn.CommandTag, err error) {
		tag, r = l.message(ctx, lead, s.query, rows)
		if s.traits.Commands == 0 { // what it says is of the settings
			tag = pgconn.CommandTag{}
		}
		return tag, r.err
	})
	s.result = driver.RowsAffected(tag.RowsAffected())
	return r
}

var errSessionPooled = errors.New("behind a transaction pooler a statement that can't run in a transaction can't be given a tenant: connect directly for it")

// exchangeInSession sends a command that can't run in a transaction, such as VACUUM or CREATE INDEX
// CONCURRENTLY: the settings are set for the session, and reset behind it, whatever came of it.
func (l *lease) exchangeInSession(ctx context.Context, s *statement) reply {
	if l.link.pooled() {
		return reply{err: errSessionPooled, sent: true}
	}
	defer l.detached(ctx, l.target.reset())
	if _, r := l.message(ctx, l.target.script(Preamble{}, session, l.temp(s)), "", nil); r.err != nil {
		return r
	}
	r := l.exchangeScript(ctx, "", s, nil)
	if r.err != nil && !errors.Is(r.err, driver.ErrBadConn) {
		r.err = fmt.Errorf("tenantry: outside a transaction: %w", r.err)
	}
	return r
}

// message sends lead and text in one simple message, and returns the last command's tag. The server
// has answered each command of lead before it comes to the text, unless it can't read the text.
func (l *lease) message(ctx context.Context, lead, text string, rows func([]string) error) (tag pgconn.CommandTag, r reply) {
	f := l.link.filter
	f.Mark()
	var err error
	if rows == nil {
		tag, err = l.simple(ctx, lead+text)
	} else {
		var copied strings.Builder
		_, err = l.conn().PgConn().CopyTo(ctx, &copied, lead+text)
		if err == nil {
			if err := rows(column(copied.String())); err != nil {
				return tag, reply{err: err, first: f.First(), ours: true}.owned()
			}
		}
	}
	unparsed := false
	var pgErr *pgconn.PgError
	refused := errors.As(err, &pgErr)
	if at := int32(utf8.RuneCountInString(lead)); refused && pgErr.Position > at { //nolint:gosec // a text of 2 GB is refused before
		pgErr.Position -= at
		unparsed = f.Completed() == 0
	}
	passed := f.Completed() >= sqltext.Scan(lead).Commands
	if passed {
		l.fresh = false
	}
	return tag, reply{err: retryable(err), first: f.First(), unparsed: unparsed, ours: refused && !passed && !unparsed}.owned()
}

// owned marks the error of a statement of this package, and says whether anything was written.
func (r reply) owned() reply {
	r.sent = !errors.Is(r.err, driver.ErrBadConn)
	if r.ours {
		r.err = &ownError{r.err}
	}
	return r
}

// temp says what the settings of s do about temporary tables.
func (l *lease) temp(s *statement) hygiene {
	switch {
	case s.discard:
		return cleaned
	case l.fresh || l.link.pooled():
		return guarded
	}
	return trusting
}

// settle says what the last reply to s means for the transaction, and describes the error.
func (c *conn) settle(ctx context.Context, s *statement, r reply) error {
	switch {
	case c.phase() == txPending:
		return c.began(ctx, s, r)
	case c.phase() == noTx && r.ours:
		return c.lease.failed("apply settings", r.err)
	}
	return r.err
}
