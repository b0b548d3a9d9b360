package wire

import (
	"bytes"
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

	armed  atomic.Bool           // taken back by the write that sends the group
	group  Group                 // what to send if armed
	watch  atomic.Pointer[Watch] // sees what others write
	sent   bool                  // the last armed group was written
	first  byte                  // the kind of the first message read since Mark; 0 if there was none
	failed bool                  // the last armed group's prefix was answered by an error
	done   int                   // commands that the server has completed since Mark, but for those of a prefix
	said   []byte                // what the server has said of a statement that was new in the last armed group

	out     []byte // the write buffer of an armed group
	replies []byte // to the prefixes of the last armed group

	// What follows is the state of reading.
	expect  []byte          // kinds of the replies to prefixes that are still to be dropped; part of replies
	body    int             // bytes of the current message still to come
	drop    bool            // whether the current message is dropped
	note    bool            // whether it is noted in said
	tag     []byte          // of the command that the current message completes, if tagged
	tagged  bool            // whether the current message completes a command that no write was seen of
	wrote   atomic.Bool     // something was written since the last ReadyForQuery; COPY writes its data while it reads
	changed bool            // the server has reported a parameter since Reported was called
	unseen  []string        // tags of such commands while there is a Watch, each once
	asked   bool            // a description is still to come
	columns []byte          // to be read before the next message
	later   []byte          // kinds of the replies to what is between Bind and execution, which are dropped, too
	kept    progress        // of a kept statement
	raw     []byte          // what was read from r and not looked at yet
	header  [headerLen]byte // a header that arrived in parts
	have    int             // how many bytes of header have arrived
	pending []byte          // header bytes that the caller's buffer had no room for
	err     error           // a violation of the protocol; final
}

// progress is how far the server has come with a kept statement.
type progress int

const (
	executing progress = iota // or there is none
	binding
	between // what goes between its Bind and its execution
)

var _ io.ReadWriter = (*Filter)(nil)

// NewFilter returns a filter that reads the server's bytes from r and writes
// the client's bytes to w.
func NewFilter(r io.Reader, w io.Writer) *Filter {
	return &Filter{r: r, w: w}
}

// Arm makes the next write carry what g says. It must be exactly one message group,
// which begins with Parse or Bind and ends with its only Sync; any other write while
// armed is an error and sends nothing.
func (f *Filter) Arm(g Group) {
	f.Mark()
	f.group = g
	f.armed.Store(true)
}

// Mark is called before something is sent, so that First tells of the replies to it.
func (f *Filter) Mark() { f.sent, f.failed, f.first, f.done, f.kept = false, false, 0, 0, executing }

// Completed returns how many commands the server has completed since Mark or Arm, but for those of
// prefixes. It says something of a simple message, whose commands are completed one by one.
func (f *Filter) Completed() int { return f.done }

// First returns the kind of the first message that the server has sent since Mark or
// Arm, or 0 if there was none. It is right only if all before it was read.
func (f *Filter) First() byte { return f.first }

// Disarm ends what Arm began, and reports whether the group was written.
func (f *Filter) Disarm() (sent bool) {
	f.armed.Store(false)
	return f.sent
}

// PrefixFailed reports whether the server answered the last armed prefix by an
// error. It then skipped the statement behind it.
func (f *Filter) PrefixFailed() bool { return f.failed }

// Unbound reports whether the statement of the last armed group is a kept one that the server has
// not come to execute.
func (f *Filter) Unbound() bool { return f.kept != executing }

// Reported reports whether the server has reported the value of a parameter since it was called last.
func (f *Filter) Reported() bool {
	changed := f.changed
	f.changed = false
	return changed
}

// Sent reports whether the last armed group was written.
func (f *Filter) Sent() bool { return f.sent }

// Passed reports whether the last armed group was sent and the server did not
// refuse its prefix, nor stop before what is between its Bind and its execution. It says
// something only once a reply has been read.
func (f *Filter) Passed() bool {
	return f.sent && !f.failed && (!f.Unbound() || !f.group.hasBetween())
}

// Write sends b, behind the prefixes if f is armed. It reports only the caller's
// bytes: none if the error came before the prefixes were through.
func (f *Filter) Write(b []byte) (int, error) {
	if isTerminate(b) {
		return f.w.Write(b)
	}
	if !f.armed.CompareAndSwap(true, false) {
		if err := f.watched(b); err != nil {
			return 0, err
		}
		if len(b) > 0 && b[0] != copyData {
			f.wrote.Store(true)
		}
		return f.w.Write(b)
	}
	f.wrote.Store(true)
	if err := f.checkGroup(b); err != nil {
		return 0, err
	}
	f.lead()
	lead := len(f.out)
	var err error
	if f.out, err = f.group.appendTo(f.out, b); err != nil {
		return 0, err
	}
	f.sent = true
	f.expect, f.later, f.columns, f.asked, f.kept = f.replies, nil, nil, false, executing
	if f.group.Name != "" {
		f.expectColumns()
	}
	n, err := f.w.Write(f.out)
	if cap(f.out) > keepBuffer {
		f.out = nil
	}
	if err == nil {
		return len(b), nil
	}
	return min(max(0, n-lead), len(b)), err
}

// lead begins the write buffer with the prefixes, and collects their replies.
func (f *Filter) lead() {
	f.out, f.replies = f.out[:0], f.replies[:0]
	for i := range f.group.Prefixes {
		f.out = append(f.out, f.group.Prefixes[i].messages...)
		f.replies = append(f.replies, f.group.Prefixes[i].replies...)
	}
}

// expectColumns makes ready for those of a statement that has a name.
func (f *Filter) expectColumns() {
	f.said = f.said[:0]
	if f.group.Kept != nil {
		f.columns = f.group.Kept.columns
		f.kept = binding
		if f.group.hasBetween() {
			f.later = f.group.Between.replies
		}
		return
	}
	f.asked = true
}

// Described returns what the server has said of the statement that got its name with the
// last armed group, or nil if it has not. It is complete once the first row was read, or the
// end of the statement. From the next execution on, the types for which inBinary is true come
// in binary format.
func (f *Filter) Described(inBinary func(oid uint32) bool) *Description {
	params, columns := cut(f.said)
	if f.asked || len(columns) == 0 {
		return nil
	}
	return describe(params, columns, inBinary)
}

func isTerminate(b []byte) bool { return len(b) > 0 && b[0] == 'X' }

// checkGroup holds a write against what Arm demands. A statement that would go
// out without the prefix in front of it must never leave.
func (f *Filter) checkGroup(b []byte) error {
	if len(f.expect) > 0 {
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

// Read fills p with the server's bytes, less the replies to the prefix. It follows the
// bounds of messages all the time: between two groups the server may send a message that the
// frontend has read the first part of when the next group is armed.
func (f *Filter) Read(p []byte) (int, error) {
	for {
		switch {
		case f.err != nil:
			return 0, f.err
		case len(f.pending) > 0:
			n := copy(p, f.pending)
			f.pending = f.pending[n:]
			return n, nil
		case len(p) == 0:
			return f.r.Read(p)
		case len(f.columns) > 0 && f.betweenMessages():
			f.pending, f.columns = f.columns, nil
			continue
		}
		n, err := f.readMessages(p)
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (f *Filter) betweenMessages() bool { return f.body == 0 && f.have == 0 }

// next reads what is still to be looked at.
func (f *Filter) next(p []byte) (int, error) {
	if len(f.raw) == 0 {
		return f.r.Read(p)
	}
	n := copy(p, f.raw)
	f.raw = f.raw[n:]
	return n, nil
}

// readMessages reads once and takes the prefix's replies out of p, in place.
// It may return 0 bytes without an error.
func (f *Filter) readMessages(p []byte) (int, error) {
	if len(p) <= f.have { // no room to put the header back together in p
		return 0, f.readHeader()
	}
	n, err := f.next(p[f.have:])
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
	n, err := f.next(f.header[f.have:])
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
			if f.note {
				f.said = append(f.said, p[i:i+n]...)
			}
			if f.tagged {
				f.readTag(p[i : i+n])
			}
		case len(f.columns) > 0: // they go in here
			f.raw = append(bytes.Clone(p[i:]), f.raw...)
			return kept, nil
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
	f.body, f.drop, f.note = n, false, false
	f.changed = f.changed || header[0] == parameterStatus
	f.tagged = header[0] == commandComplete && !f.wrote.Load() && f.watch.Load() != nil
	if header[0] == readyForQuery {
		f.wrote.Store(false)
	}
	if f.first == 0 {
		f.first = header[0]
	}
	if len(f.expect) == 0 {
		f.pass(header)
		return nil
	}
	switch header[0] {
	case 'N', 'S', 'A': // NoticeResponse, ParameterStatus, NotificationResponse come at any time
	case 'E': // the server now skips everything up to Sync: what follows is the caller's
		f.failed, f.expect, f.later, f.asked = true, nil, nil, false
	default:
		return f.reply(header[0])
	}
	return nil
}

// pass looks at a message that is the caller's.
func (f *Filter) pass(header []byte) {
	if header[0] == commandComplete {
		f.done++
	}
	switch {
	case f.asked:
		f.hear(header)
	case header[0] == bindComplete && f.kept == binding:
		f.expect, f.later = f.later, nil
		if f.kept = between; len(f.expect) == 0 {
			f.kept = executing
		}
	case header[0] == 'E':
		f.later = nil
	}
}

// hear notes what the server says of a new statement. The caller has asked for the columns
// only.
func (f *Filter) hear(header []byte) {
	switch header[0] {
	case parameterDescription:
		f.drop, f.note = true, true
	case rowDescription, noData:
		f.note, f.asked = true, false
	case 'E':
		f.asked = false
	}
	if f.note {
		f.said = append(f.said, header...)
	}
}

// reply takes one message of the replies to the prefixes. Any number of DataRow may
// stand before a CommandComplete.
func (f *Filter) reply(kind byte) error {
	f.drop = true
	switch {
	case kind == f.expect[0]:
		f.expect = f.expect[1:]
		if len(f.expect) == 0 && f.kept == between {
			f.kept = executing
		}
	case kind == 'D' && f.expect[0] == commandComplete:
	default:
		return fmt.Errorf("wire: unexpected message %q among the replies to a prefix", kind)
	}
	return nil
}
