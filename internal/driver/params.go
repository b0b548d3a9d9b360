package driver

import (
	"context"
	"database/sql/driver"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// parameters are the arguments of a statement as pgx gets them: texts and
// numbers, whose types the server infers, behind the query mode that sends
// them in one round trip and keeps nothing on the server.
type parameters struct {
	named []driver.NamedValue
	key   typeKey  // under which the types are remembered, if oids are not nil
	oids  []uint32 // types of those that had to be encoded for one, 0 for the others; or nil
}

// parameters encodes args. A type that can only be encoded for a known
// parameter, such as []byte (bytea or jsonb), costs a round trip the first time
// that the tenant runs the query.
func (c *conn) parameters(ctx context.Context, query string, args []any) (parameters, error) {
	p := parameters{named: make([]driver.NamedValue, 1+len(args))}
	p.named[0].Value = pgx.QueryExecModeExec
	var typed []int // positions
	for i, arg := range args {
		v, ok, err := plain(arg)
		if err != nil {
			return p, fmt.Errorf("tenantry: argument %d: %w", i+1, err)
		}
		if !ok {
			typed = append(typed, i)
		}
		p.named[1+i].Value = v
	}
	if len(typed) == 0 {
		return p, nil
	}
	return c.typed(ctx, query, p, typed)
}

// typed encodes the arguments at the given positions for the types that the
// server has described. If a remembered type does not fit, it asks again.
func (c *conn) typed(ctx context.Context, query string, p parameters, at []int) (parameters, error) {
	p.key = typeKeyOf(c.lease.scope, query)
	types := &c.connector.types
	if oids, ok := types.get(p.key); ok {
		if encoded, err := p.encode(c.lease.conn().TypeMap(), oids, at); err == nil {
			return encoded, nil
		}
	}
	oids, err := c.describe(ctx, query)
	if err != nil {
		return p, err
	}
	types.put(p.key, oids)
	return p.encode(c.lease.conn().TypeMap(), oids, at)
}

// encode returns p with the arguments at the given positions as text. They
// travel with the types that they were encoded for, so that the server treats
// them as such also when a column's type has changed meanwhile.
func (p parameters) encode(m *pgtype.Map, oids []uint32, at []int) (parameters, error) {
	if len(oids) != len(p.named)-1 {
		return p, fmt.Errorf("tenantry: the statement has %d parameters, but %d arguments were given", len(oids), len(p.named)-1)
	}
	encoded := parameters{key: p.key, named: append([]driver.NamedValue(nil), p.named...), oids: make([]uint32, len(oids))}
	for _, i := range at {
		buf, err := m.Encode(oids[i], pgtype.TextFormatCode, p.named[1+i].Value, []byte{})
		if err != nil {
			return p, fmt.Errorf("tenantry: argument %d: %w", i+1, err)
		}
		encoded.oids[i] = oids[i]
		encoded.named[1+i].Value = nil
		if buf != nil {
			encoded.named[1+i].Value = string(buf)
		}
	}
	return encoded, nil
}

// describe asks the server for the types of the query's parameters.
func (c *conn) describe(ctx context.Context, query string) ([]uint32, error) {
	var sd *pgconn.StatementDescription
	err := c.send(ctx, outgoing{query: query}, func(l *lease) (err error) {
		sd, err = l.conn().Prepare(ctx, "", query)
		return retryable(err)
	})
	if err != nil {
		return nil, err
	}
	return sd.ParamOIDs, nil
}

// forget drops the types that a failed statement was sent with.
func (c *conn) forget(p parameters) {
	if p.oids != nil {
		c.connector.types.remove(p.key)
	}
}
