package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
)

// headerLen is the length of a message's type byte and its length field.
const headerLen = 5

// keepBuffer is the largest write buffer that a Filter keeps between groups.
const keepBuffer = 16 << 10

// Filter passes bytes between a pgproto3 frontend and a connection, and adds a
// prefix to the one group that it is armed for.
//
// A Filter belongs to one connection and is used by one goroutine at a time,
// with one exception: pgconn may write a Terminate message from another
// goroutine after an error.
type Filter struct {
	r io.Reader
	w io.Writer

	armed  atomic.Pointer[group] // taken by the write that sends it
	watch  atomic.Pointer[Watch] // sees what others write
	sent   bool                  // the last armed group was written
	failed bool                  // the last armed group's prefix was answered by an error

	out []byte // the write buffer of an armed group

	// What follows is the state of reading the prefix's replies.
	expect  int             // statements of the prefix whose replies are still to be dropped
	next    int             // position in the replies of one statement
	body    int             // bytes of the current message still to come
	drop    bool            // whether the current message is dropped
	header  [headerLen]byte // a header that arrived in parts
	have    int             // how many bytes of header have arrived
	pending []byte          // header bytes that the caller's buffer had no room for
	err     error           // a violation of the protocol; final
}

// group is what a filter is armed with.
type group struct {
	prefix Prefix
	oids   []uint32
}

var _ io.ReadWriter = (*Filter)(nil)

// NewFilter returns a filter that reads the server's bytes from r and writes
// the client's bytes to w.
func NewFilter(r io.Reader, w io.Writer) *Filter {
	return &Filter{r: r, w: w}
}

// Arm makes the next group carry p. The group must be exactly one write that
// begins with Parse or Bind and ends with its only Sync; any other write while
// armed is an error and sends nothing. If oids is not empty it gives the types
// of the group's parameters, 0 where the server shall infer one, and the group
// must begin with a Parse that names none itself.
func (f *Filter) Arm(p Prefix, oids []uint32) {
	f.sent, f.failed = false, false
	f.armed.Store(&group{prefix: p, oids: oids})
}

// Disarm ends what Arm began, and reports whether the group was written.
func (f *Filter) Disarm() (sent bool) {
	f.armed.Store(nil)
	return f.sent
}

// PrefixFailed reports whether the server answered the last armed prefix by an
// error. It then skipped the statement behind it.
func (f *Filter) PrefixFailed() bool { return f.failed }

// Passed reports whether the last armed group was sent and the server did not
// refuse its prefix. It says something only once a reply has been read.
func (f *Filter) Passed() bool { return f.sent && !f.failed }

// Write sends b, behind the prefix if f is armed. It reports only the caller's
// bytes: none if the error came before the prefix was through.
func (f *Filter) Write(b []byte) (int, error) {
	if f.armed.Load() == nil || isTerminate(b) {
		if err := f.watched(b); err != nil {
			return 0, err
		}
		return f.w.Write(b)
	}
	g := f.armed.Swap(nil)
	if err := f.checkGroup(b); err != nil {
		return 0, err
	}
	f.out = append(f.out[:0], g.prefix.messages...)
	lead := len(f.out)
	var err error
	if f.out, err = appendGroup(f.out, b, g.oids); err != nil {
		return 0, err
	}
	f.sent = true
	f.expect = g.prefix.commands
	n, err := f.w.Write(f.out)
	if cap(f.out) > keepBuffer {
		f.out = nil
	}
	if err == nil {
		return len(b), nil
	}
	return min(max(0, n-lead), len(b)), err
}

func isTerminate(b []byte) bool { return len(b) > 0 && b[0] == 'X' }

// checkGroup holds a write against what Arm demands. A statement that would go
// out without the prefix in front of it must never leave.
func (f *Filter) checkGroup(b []byte) error {
	if f.expect > 0 {
		return errors.New("wire: the previous group is not read to its end")
	}
	if len(b) == 0 || b[0] != 'P' && b[0] != 'B' {
		return errors.New("wire: a group under a prefix must begin with Parse or Bind")
	}
	var last byte
	for len(b) > 0 {
		n, ok := messageLen(b)
		if !ok || last == 'S' {
			return errors.New("wire: a write under a prefix must be exactly one message group")
		}
		last, b = b[0], b[n:]
	}
	if last != 'S' {
		return errors.New("wire: a group under a prefix must end with Sync")
	}
	return nil
}

// messageLen returns the length of the message at the start of b, header
// included, and whether all of it is there.
func messageLen(b []byte) (int, bool) {
	if len(b) < headerLen {
		return 0, false
	}
	n := 1 + int(binary.BigEndian.Uint32(b[1:]))
	return n, n >= headerLen && n <= len(b)
}

// appendGroup appends the group b to dst, with oids as its parameter types.
func appendGroup(dst, b []byte, oids []uint32) ([]byte, error) {
	if len(oids) == 0 {
		return append(dst, b...), nil
	}
	n, _ := messageLen(b)
	if b[0] != 'P' || binary.BigEndian.Uint16(b[n-2:]) != 0 {
		return nil, errors.New("wire: the parameter types have no Parse to go into")
	}
	start := len(dst)
	dst = append(dst, b[:n-2]...)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(oids))) //nolint:gosec // pgconn refuses more than 65535 parameters
	for _, oid := range oids {
		dst = binary.BigEndian.AppendUint32(dst, oid)
	}
	binary.BigEndian.PutUint32(dst[start+1:], uint32(len(dst)-start-1)) //nolint:gosec // pgproto3 refuses longer messages
	return append(dst, b[n:]...), nil
}

// Read fills p with the server's bytes, less the replies to the prefix.
func (f *Filter) Read(p []byte) (int, error) {
	for {
		switch {
		case f.err != nil:
			return 0, f.err
		case len(f.pending) > 0:
			n := copy(p, f.pending)
			f.pending = f.pending[n:]
			return n, nil
		case !f.filtering() || len(p) == 0:
			return f.r.Read(p)
		}
		n, err := f.readFiltered(p)
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (f *Filter) filtering() bool { return f.expect > 0 || f.body > 0 }

// readFiltered reads once and takes the prefix's replies out of p, in place.
// It may return 0 bytes without an error.
func (f *Filter) readFiltered(p []byte) (int, error) {
	if len(p) <= f.have { // no room to put the header back together in p
		return 0, f.readHeader()
	}
	n, err := f.r.Read(p[f.have:])
	if n == 0 {
		return 0, err
	}
	n += copy(p, f.header[:f.have])
	f.have = 0
	kept, violation := f.sift(p[:n])
	if violation != nil {
		f.err = violation
		if kept == 0 {
			err = violation
		}
	}
	return kept, err
}

// readHeader reads on with a header that arrived in parts.
func (f *Filter) readHeader() error {
	n, err := f.r.Read(f.header[f.have:])
	f.have += n
	if f.have < headerLen {
		return err
	}
	f.have = 0
	if violation := f.begin(f.header[:]); violation != nil {
		f.err = violation
		return violation
	}
	if !f.drop {
		f.pending = f.header[:]
	}
	return err
}

// sift moves what is not dropped to the front of p and returns its length.
func (f *Filter) sift(p []byte) (kept int, err error) {
	for i := 0; i < len(p); {
		n := len(p) - i // the next n bytes share one fate
		switch {
		case f.body > 0:
			n = min(n, f.body)
			f.body -= n
		case f.expect == 0:
			f.drop = false
		case n < headerLen:
			f.have = copy(f.header[:], p[i:])
			return kept, nil
		default:
			n = headerLen
			if err := f.begin(p[i : i+n]); err != nil {
				return kept, err
			}
		}
		if !f.drop {
			kept += copy(p[kept:], p[i:i+n])
		}
		i += n
	}
	return kept, nil
}

// begin looks at the header of the next message and decides what becomes of it.
func (f *Filter) begin(header []byte) error {
	n := int(int32(binary.BigEndian.Uint32(header[1:]))) - 4 //nolint:gosec // a negative length is refused below
	if n < 0 {
		return errors.New("wire: a message from the server has a negative length")
	}
	f.body = n
	switch header[0] {
	case 'N', 'S', 'A': // NoticeResponse, ParameterStatus, NotificationResponse come at any time
		f.drop = false
	case 'E': // the server now skips everything up to Sync: what follows is the caller's
		f.drop, f.failed = false, true
		f.expect, f.next = 0, 0
	default:
		return f.reply(header[0])
	}
	return nil
}

// reply takes one message of the replies to a statement of the prefix:
// ParseComplete, BindComplete, any number of DataRow, CommandComplete.
func (f *Filter) reply(kind byte) error {
	f.drop = true
	switch {
	case f.next == 0 && kind == '1', f.next == 1 && kind == '2':
		f.next++
	case f.next == 2 && kind == 'D':
	case f.next == 2 && kind == 'C':
		f.next = 0
		f.expect--
	default:
		return fmt.Errorf("wire: unexpected message %q among the replies to a prefix", kind)
	}
	return nil
}
