package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/jackc/pgx/v5/pgproto3"
)

// Kinds of the server's replies (PostgreSQL manual, section 55.7).
const (
	parseComplete   = '1'
	bindComplete    = '2'
	closeComplete   = '3'
	commandComplete = 'C'
	readyForQuery   = 'Z'
	parameterStatus = 'S'
	copyData        = 'd'

	parameterDescription = 't'
	rowDescription       = 'T'
	noData               = 'n'
)

// Prefix is a list of messages, encoded once, that a [Filter] sends in front of a
// message group. The zero value is empty and sends nothing. A Prefix that is no
// longer added to may be shared between connections and goroutines.
type Prefix struct {
	messages []byte
	replies  []byte // the kinds of message that the server answers with, in order
}

// Add appends one statement and its parameters, which travel as text. The
// unnamed statement and portal are used, because a connection pooler does not
// carry named ones.
func (p *Prefix) Add(sql string, params ...string) error {
	if err := p.Prepare("", sql); err != nil {
		return err
	}
	return p.Run("", params...)
}

// Prepare appends a statement that gets a name and does not run.
func (p *Prefix) Prepare(name, sql string) error {
	return p.add(&pgproto3.Parse{Name: name, Query: sql}, parseComplete)
}

// Run appends the execution of the statement that bears the name.
func (p *Prefix) Run(name string, params ...string) error {
	start := len(p.messages)
	p.messages = append(p.messages, 'B', 0, 0, 0, 0, 0) // its length comes later; the unnamed portal
	p.messages = append(append(p.messages, name...), 0)
	p.messages = binary.BigEndian.AppendUint16(p.messages, 0)                   // all parameters are text
	p.messages = binary.BigEndian.AppendUint16(p.messages, uint16(len(params))) //nolint:gosec // checked below
	for _, v := range params {
		p.messages = binary.BigEndian.AppendUint32(p.messages, uint32(len(v))) //nolint:gosec // checked below
		p.messages = append(p.messages, v...)
	}
	p.messages = binary.BigEndian.AppendUint16(p.messages, 0) // all results, too
	if len(params) > math.MaxUint16 || len(p.messages)-start > maxMessage {
		return errTooLong
	}
	setLen(p.messages, start)
	p.messages = append(p.messages, execute...)
	p.replies = append(p.replies, bindComplete, commandComplete)
	return nil
}

// execute is Execute of the unnamed portal, for all rows.
const execute = "E\x00\x00\x00\x09\x00\x00\x00\x00\x00"

// maxMessage is the longest message that is sent, in bytes.
const maxMessage = 1 << 29

var errTooLong = errors.New("wire: prefix: the settings are too long")

// Close appends the end of the statement that bears the name. The server does not
// mind if there is none.
func (p *Prefix) Close(name string) error {
	return p.add(&pgproto3.Close{ObjectType: 'S', Name: name}, closeComplete)
}

// Reset empties p and keeps its memory, so that it must not be shared any more.
func (p *Prefix) Reset() { p.messages, p.replies = p.messages[:0], p.replies[:0] }

func (p *Prefix) add(m pgproto3.FrontendMessage, reply byte) (err error) {
	if p.messages, err = m.Encode(p.messages); err != nil {
		return fmt.Errorf("wire: prefix: %w", err)
	}
	p.replies = append(p.replies, reply)
	return nil
}
