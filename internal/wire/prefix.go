package wire

import (
	"fmt"

	"github.com/jackc/pgx/v5/pgproto3"
)

// Prefix is a list of statements, encoded once, that a [Filter] sends in front
// of a message group. The zero value is empty and sends nothing. A Prefix that
// is no longer added to may be shared between connections and goroutines.
type Prefix struct {
	messages []byte
	commands int // how many statements, and so how many CommandComplete to drop
}

// Add appends one statement and its parameters, which travel as text. The
// unnamed statement and portal are used, because a connection pooler does not
// carry named ones.
func (p *Prefix) Add(sql string, params ...string) error {
	values := make([][]byte, len(params))
	for i, v := range params {
		values[i] = []byte(v)
	}
	buf := p.messages
	var err error
	for _, m := range []pgproto3.FrontendMessage{
		&pgproto3.Parse{Query: sql},
		&pgproto3.Bind{Parameters: values},
		&pgproto3.Execute{},
	} {
		if buf, err = m.Encode(buf); err != nil {
			return fmt.Errorf("wire: prefix: %w", err)
		}
	}
	p.messages = buf
	p.commands++
	return nil
}
