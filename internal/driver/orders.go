package driver

import (
	"context"
	"database/sql/driver"
	"errors"

	"github.com/tenantry/tenantry/internal/sqltext"
)

// SettingsAgain sets the settings of the open transaction once more, and then runs the
// SQL, which must be the migrator's own: it is not inspected. Passed as the only
// argument of an Exec, it is sent instead of the text.
type SettingsAgain string

// RefuseControl makes a pinned connection refuse text that begins or ends a transaction,
// until it goes back to the pool. It is an error while a transaction is open there. Passed as the only argument of an Exec, it is obeyed
// and nothing is sent.
type RefuseControl struct{}

// CheckTransaction is an error if the open transaction has failed, or is gone: the
// migration before it ignored an error. Passed as the only argument of an Exec, it is
// obeyed and nothing is sent.
type CheckTransaction struct{}

// obey does what an order says, and reports whether it is one.
func (c *conn) obey(ctx context.Context, what any) (driver.Result, error, bool) {
	switch order := what.(type) {
	case Work:
		result, err := c.work(ctx, order)
		return result, err, true
	case SettingsAgain:
		result, err := c.settingsAgain(ctx, order)
		return result, err, true
	case CheckTransaction:
		return driver.ResultNoRows, c.checkTransaction(ctx), true
	case RefuseControl:
		return driver.ResultNoRows, c.refuseControl(), true
	}
	return nil, nil, false
}

func (c *conn) refuseControl() error {
	if c.tx != nil {
		return errors.New("tenantry: a transaction on the pinned connection was left open: commit it, or roll it back")
	}
	c.noControl = true
	return nil
}

func (c *conn) checkTransaction(ctx context.Context) error {
	if _, err := c.enter(ctx); err != nil {
		return err
	}
	if c.phase() == txOpen && c.lease.conn().PgConn().TxStatus() == 'E' {
		return errors.New("tenantry: an error in the transaction was ignored, and PostgreSQL has given the transaction up: return the error, or use a savepoint (tx.Transaction)")
	}
	return nil
}

// settingsAgain sets what the transaction began with: SET, RESET, set_config or a
// function may have changed it since.
func (c *conn) settingsAgain(ctx context.Context, then SettingsAgain) (driver.Result, error) {
	if _, err := c.enter(ctx); err != nil {
		return nil, err
	}
	if c.tx == nil {
		return nil, errors.New("tenantry: only a transaction has settings to be set again")
	}
	if err := c.beginNow(ctx); err != nil {
		return nil, err
	}
	if _, r := c.lease.message(ctx, c.lease.target.SettingsSQL()+string(then), "", nil); r.err != nil {
		return nil, c.lease.failed("apply settings", r.err)
	}
	return driver.ResultNoRows, nil
}

// SettingsSQL returns SQL that sets the settings of t for the open transaction; it ends
// with a semicolon, or is empty.
func (t *Target) SettingsSQL() string { return t.script(Preamble{}, local, trusting) }

// PathCheckSQL returns SQL that fails unless search_path is what t sets it to, or ""
// if t does not set it.
func (t *Target) PathCheckSQL() string {
	i := t.pathAt()
	if i < 0 {
		return ""
	}
	return "select " + RefuseUnless("pg_catalog.current_setting('"+searchPath+"') = "+sqltext.Literal(t.Settings[i].Value), "tenantry: search_path leads elsewhere at the end of the transaction")
}
