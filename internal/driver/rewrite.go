package driver

import (
	"context"
	"database/sql/driver"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// rewrite takes pgx's own options off the front of args, as pgx would. A query
// mode or a result format is dropped: how a statement is sent is decided here,
// or it could run without its tenant. A rewriter, such as pgx.NamedArgs, is run.
func rewrite(ctx context.Context, l *lease, query string, named []driver.NamedValue) (string, []any, error) {
	args := make([]any, len(named))
	for i, v := range named {
		args[i] = v.Value
	}
	for len(args) > 0 {
		switch option := args[0].(type) {
		case pgx.QueryExecMode, pgx.QueryResultFormats, pgx.QueryResultFormatsByOID:
			args = args[1:]
		case pgx.QueryRewriter:
			query, args, err := option.RewriteQuery(ctx, l.conn(), query, args[1:])
			if err != nil {
				err = fmt.Errorf("tenantry: rewrite query: %w", err)
			}
			return query, args, err
		default:
			return query, args, nil
		}
	}
	return query, args, nil
}
