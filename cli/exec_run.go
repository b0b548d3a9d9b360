package cli

import (
	"context"
	"database/sql"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// errNotRun says that a tenant's turn never came.
var errNotRun = errors.New("not run: interrupted")

// answer is what a tenant has answered. As JSON it has columns and rows if the SQL
// returns rows, rows_affected otherwise, and error if it failed.
type answer struct {
	Tenant       scope.Tenant `json:"tenant"`
	Columns      []string     `json:"columns,omitempty"`
	Rows         *[][]any     `json:"rows,omitempty"`
	RowsAffected *int64       `json:"rows_affected,omitempty"`
	Command      string       `json:"command,omitempty"` // PostgreSQL's tag, such as "UPDATE 3"
	Error        string       `json:"error,omitempty"`

	text [][]string // of Rows
}

// runAll runs the SQL for several tenants at a time, and returns the answers in
// the order of tenants. When ctx ends, the rest is not run.
func (e *execution) runAll(ctx context.Context, db *gorm.DB, tenants []scope.Tenant) []answer {
	answers := make([]answer, len(tenants))
	var group errgroup.Group
	group.SetLimit(e.atOnce)
	for i, t := range tenants {
		group.Go(func() error {
			answers[i] = e.run(ctx, db, t)
			return nil
		})
	}
	_ = group.Wait() // errors are in the answers
	return answers
}

// run runs the SQL for one tenant.
func (e *execution) run(ctx context.Context, db *gorm.DB, t scope.Tenant) answer {
	a := answer{Tenant: t}
	err := errNotRun
	if ctx.Err() == nil {
		ctx, cancel := e.context(ctx, t)
		defer cancel()
		if e.noTransaction {
			err = a.runBare(ctx, db, e.sql)
		} else {
			err = a.runInTransaction(ctx, db, e.sql, e.readOnly)
		}
	}
	if err != nil {
		return answer{Tenant: t, Error: err.Error()}
	}
	return a
}

// runInTransaction asks for texts, by PostgreSQL's simple protocol: they are what
// is printed, and several statements may be in one.
func (a *answer) runInTransaction(ctx context.Context, db *gorm.DB, text string, readOnly bool) error {
	return db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		return plugin.WithConn(tx, func(c *pgx.Conn) error {
			return a.read(c.PgConn().Exec(ctx, text))
		})
	}, &sql.TxOptions{ReadOnly: readOnly})
}

// read keeps the last of the results.
func (a *answer) read(results *pgconn.MultiResultReader) error {
	for results.NextResult() {
		reader := results.ResultReader()
		fields := slices.Clone(reader.FieldDescriptions()) // a Result of no rows has none
		a.take(fields, reader.Read())
	}
	return results.Close()
}

// runBare goes past GORM, which would look for parameters in the text.
func (a *answer) runBare(ctx context.Context, db *gorm.DB, text string) error {
	pool, err := db.DB()
	if err != nil {
		return err
	}
	result, err := pool.ExecContext(ctx, text)
	if err != nil {
		return err
	}
	n, err := result.RowsAffected()
	a.RowsAffected, a.Command = &n, count(int(n), "row")+" affected"
	return err
}

// take keeps what the server has sent.
func (a *answer) take(fields []pgconn.FieldDescription, r *pgconn.Result) {
	*a = answer{Tenant: a.Tenant, Command: r.CommandTag.String()}
	if fields == nil {
		n := r.CommandTag.RowsAffected()
		a.RowsAffected = &n
		return
	}
	for _, f := range fields {
		a.Columns = append(a.Columns, f.Name)
	}
	rows := [][]any{}
	for _, row := range r.Rows {
		values, words := make([]any, len(row)), make([]string, len(row))
		for i, v := range row {
			values[i], words[i] = jsonValue(fields[i].DataTypeOID, v), textValue(v)
		}
		rows, a.text = append(rows, values), append(a.text, words)
	}
	a.Rows = &rows
}
