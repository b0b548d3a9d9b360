package driver

import (
	"context"
	"database/sql/driver"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// encode makes the arguments of s what pgx gets: texts and numbers, whose types the server
// infers, behind the query mode that sends them in one round trip and keeps nothing on the
// server. A type that can only be encoded for a known parameter, such as []byte (bytea or jsonb),
// costs a round trip the first time that the query runs at a place.
func (c *conn) encode(ctx context.Context, s *statement) error {
	if s.form != asQuery && s.form != asExec {
		return nil
	}
	s.named, s.oids = make([]driver.NamedValue, 1+len(s.args)), nil
	s.named[0].Value = pgx.QueryExecModeExec
	var typed []int // positions
	for i, arg := range s.args {
		v, ok, err := plain(arg)
		if err != nil {
			return fmt.Errorf("tenantry: argument %d: %w", i+1, err)
		}
		if !ok {
			typed = append(typed, i)
		}
		s.named[1+i].Value = v
	}
	if len(typed) == 0 {
		return nil
	}
	return c.encodeTyped(ctx, s, typed)
}

// encodeTyped encodes the arguments at the given positions for the types that the
// server has described. If a remembered type does not fit, it asks again.
func (c *conn) encodeTyped(ctx context.Context, s *statement, at []int) error {
	types := &c.connector.types
	s.typed = c.lease.typeKey(s.query)
	if oids, ok := types.get(s.typed); ok && s.encodeFor(c.lease.conn().TypeMap(), oids, at) == nil {
		return nil
	}
	described := &statement{form: asDescribe, query: s.query}
	if err := c.do(ctx, described); err != nil {
		return err
	}
	s.typed = c.lease.typeKey(s.query) // to describe it may have taken another session
	types.put(s.typed, described.types)
	return s.encodeFor(c.lease.conn().TypeMap(), described.types, at)
}

// encodeFor encodes the arguments at the given positions as text. They travel with the types that they
// were encoded for, so that the server treats them as such also when a column's type has changed
// meanwhile.
func (s *statement) encodeFor(m *pgtype.Map, oids []uint32, at []int) error {
	if len(oids) != len(s.args) {
		return fmt.Errorf("tenantry: the statement has %d parameters, but %d arguments were given", len(oids), len(s.args))
	}
	values, typed := make([]any, len(at)), make([]uint32, len(oids))
	for n, i := range at {
		buf, err := m.Encode(oids[i], pgtype.TextFormatCode, s.named[1+i].Value, []byte{})
		if err != nil {
			return fmt.Errorf("tenantry: argument %d: %w", i+1, err)
		}
		if buf != nil {
			values[n] = string(buf)
		}
		typed[i] = oids[i]
	}
	for n, i := range at {
		s.named[1+i].Value = values[n]
	}
	s.oids = typed
	return nil
}
