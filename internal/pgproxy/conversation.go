package pgproxy

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
)

// conversation counts the round trips of one connection.
type conversation struct {
	roundTrips *atomic.Int64

	mu       sync.Mutex // guards the fields below
	replied  bool       // the server has sent something since the client last did
	started  bool       // the connection's start is over
	encrypts bool       // whether the server's next byte answers a request for encryption
	messages scanner    // reads the server's messages up to the end of the start
}

// codes of the client's first packet ("SSLRequest", "GSSENCRequest" in
// "Message Formats" of PostgreSQL's manual).
const (
	sslRequest    = 80877103
	gssEncRequest = 80877104
)

// clientSent is called with what the client sends, in order.
func (c *conversation) clientSent(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.started {
		c.encrypts = asksEncryption(b)
		return
	}
	if c.replied {
		c.roundTrips.Add(1)
	}
	c.replied = false
}

// serverSent is called with what the server sends, just before the client
// gets it: an answer to it cannot come earlier.
func (c *conversation) serverSent(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.replied = true
	if c.started {
		return
	}
	if c.encrypts {
		c.encrypts = false
		c.started = b[0] != 'N' // encrypted from here on: nothing more can be read
		b = b[1:]
	}
	c.started = c.started || c.messages.passed('Z', b)
}

func asksEncryption(b []byte) bool {
	if len(b) != 8 || binary.BigEndian.Uint32(b) != 8 {
		return false
	}
	code := binary.BigEndian.Uint32(b[4:])
	return code == sslRequest || code == gssEncRequest
}

// scanner finds messages in a stream that arrives in pieces. The zero value
// is at the start of a message.
type scanner struct {
	header []byte // what has come of the next message's type and length
	body   uint32 // how much of the current message is still to come
}

// passed reads b and reports whether a message of the given type began in it.
func (s *scanner) passed(kind byte, b []byte) bool {
	for len(b) > 0 {
		if s.body > 0 {
			n := min(int(s.body), len(b))
			s.body -= uint32(n)
			b = b[n:]
			continue
		}
		s.header = append(s.header, b[0])
		b = b[1:]
		if len(s.header) < 5 {
			continue
		}
		if s.header[0] == kind {
			return true
		}
		s.body = binary.BigEndian.Uint32(s.header[1:]) - 4 // the length counts itself
		s.header = s.header[:0]
	}
	return false
}
