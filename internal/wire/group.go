package wire

import (
	"encoding/binary"
	"errors"

	"github.com/jackc/pgx/v5/pgproto3"
)

// Group is what a [Filter] changes of one message group. It must stay as it is until
// the group is sent.
type Group struct {
	// Prefixes go in front, in this order.
	Prefixes []Prefix

	// OIDs are the types of the group's parameters, 0 where the server shall infer
	// one. If there are any, the group must begin with a Parse that has none itself.
	OIDs []uint32

	// Name is the name under which the server keeps the group's statement, or empty.
	// If there is one, the group must begin with Parse and Bind of the unnamed
	// statement and Describe of its portal.
	Name string

	// Kept is what the server has said of the statement when it got its name, or nil if it
	// has none yet. What it has is neither parsed nor described again: whoever reads gets the
	// columns from here.
	Kept *Description

	// Between goes behind the Bind of a kept statement and before its execution; empty if there is
	// nothing. Whatever a change of the tables makes fail fails in Bind, and so before that. It takes
	// the unnamed portal: the statement's then has the name Portal.
	Between Prefix
	Portal  string
}

var (
	errNoTypes   = errors.New("wire: the parameter types have no Parse to go into")
	errNoExecute = errors.New("wire: the group has no Execute of the unnamed portal for all rows behind its Bind")
	errFormats   = errors.New("wire: the group asks for formats of the result itself")
	errNoName    = errors.New("wire: the name has no Parse, Bind and Describe of an unnamed statement to go into")
)

// appendTo appends the group b to dst, changed as g says.
func (g *Group) appendTo(dst, b []byte) ([]byte, error) {
	if len(g.OIDs) == 0 && g.Name == "" {
		return append(dst, b...), nil
	}
	parse, rest := cut(b)
	if parse[0] != 'P' || binary.BigEndian.Uint16(parse[len(parse)-2:]) != 0 {
		return nil, errNoTypes
	}
	if g.Name == "" {
		return append(g.appendParse(dst, parse), rest...), nil
	}
	bind, rest := cut(rest)
	describe, rest := cut(rest)
	if parse[headerLen] != 0 || len(describe) == 0 || bind[0] != 'B' || describe[0] != 'D' {
		return nil, errNoName
	}
	if g.Kept == nil {
		dst = g.appendParse(dst, parse)
	}
	dst, err := g.appendBind(dst, bind)
	switch {
	case err != nil:
		return dst, err
	case g.Kept == nil:
		dst, err = (&pgproto3.Describe{ObjectType: 'S', Name: g.Name}).Encode(dst)
		return append(dst, rest...), err
	case g.hasBetween():
		return g.appendBetween(dst, rest)
	}
	return append(dst, rest...), nil
}

func (g *Group) hasBetween() bool { return g.Kept != nil && len(g.Between.messages) > 0 }

// appendBetween appends what goes behind Bind, with the rest of the group for the named portal.
func (g *Group) appendBetween(dst, rest []byte) ([]byte, error) {
	if len(rest) < len(execute) || string(rest[:len(execute)]) != execute {
		return dst, errNoExecute
	}
	dst = append(dst, g.Between.messages...)
	dst, err := (&pgproto3.Execute{Portal: g.Portal}).Encode(dst)
	if err == nil {
		dst, err = (&pgproto3.Close{ObjectType: 'P', Name: g.Portal}).Encode(dst)
	}
	return append(dst, rest[len(execute):]...), err
}

// cut returns the first message of b, which is whole, and what is behind it.
func cut(b []byte) (message, rest []byte) {
	n, _ := messageLen(b)
	n = min(n, len(b))
	return b[:n], b[n:]
}

// appendParse appends the unnamed Parse with g's name and types.
func (g *Group) appendParse(dst, parse []byte) []byte {
	start := len(dst)
	dst = append(dst, parse[:headerLen]...)
	dst = append(dst, g.Name...)
	dst = append(dst, parse[headerLen:len(parse)-2]...)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(g.OIDs))) //nolint:gosec // pgconn refuses more than 65535 parameters
	for _, oid := range g.OIDs {
		dst = binary.BigEndian.AppendUint32(dst, oid)
	}
	return setLen(dst, start)
}

// appendBind appends the Bind of an unnamed statement with g's name, and with the formats of
// the result that are known.
func (g *Group) appendBind(dst, bind []byte) ([]byte, error) {
	if len(bind) < headerLen+2 || bind[headerLen] != 0 || bind[headerLen+1] != 0 {
		return nil, errNoName
	}
	start := len(dst)
	dst = append(dst, bind[:headerLen]...)
	if g.hasBetween() {
		dst = append(dst, g.Portal...)
	}
	dst = append(dst, 0)
	dst = append(dst, g.Name...)
	dst = append(dst, bind[headerLen+1:]...)
	if g.Kept != nil && len(g.Kept.formats) > 0 {
		if binary.BigEndian.Uint16(bind[len(bind)-2:]) != 0 {
			return nil, errFormats
		}
		dst = append(dst[:len(dst)-2], g.Kept.formats...)
	}
	return setLen(dst, start), nil
}

// setLen puts the length into the header of the message that begins at start.
func setLen(dst []byte, start int) []byte {
	binary.BigEndian.PutUint32(dst[start+1:], uint32(len(dst)-start-1)) //nolint:gosec // pgproto3 refuses longer messages
	return dst
}
