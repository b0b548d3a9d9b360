package wire

import (
	"bytes"
	"slices"
)

// Watch sees the SQL of a write before it is sent. name is that of the prepared
// statement that it makes, if it makes one that stays. An error keeps the whole
// write from being sent.
type Watch func(name, sql string) error

// Watch makes w see all that is written, until it is called with nil.
func (f *Filter) Watch(w Watch) {
	f.unseen = nil
	if w == nil {
		f.watch.Store(nil)
		return
	}
	f.watch.Store(&w)
}

func (f *Filter) watched(b []byte) error {
	w := f.watch.Load()
	if w == nil {
		return nil
	}
	for n, ok := messageLen(b); ok; n, ok = messageLen(b) {
		if err := w.message(b[0], b[headerLen:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// message looks at the two messages that carry SQL: Query and Parse.
func (w Watch) message(kind byte, body []byte) error {
	var name []byte
	if kind == 'P' {
		name, body, _ = bytes.Cut(body, []byte{0})
	}
	if kind != 'P' && kind != 'Q' {
		return nil
	}
	sql, _, _ := bytes.Cut(body, []byte{0})
	return w(string(name), string(sql))
}

// Unseen returns the tags of the commands that the server has completed since Watch was called, and
// that were written past the filter, as pgx writes batches; each tag once, without numbers.
func (f *Filter) Unseen() []string { return f.unseen }

// readTag reads on with the tag of a command.
func (f *Filter) readTag(b []byte) {
	f.tag = append(f.tag, b...)
	if f.body > 0 {
		return
	}
	tag := string(bytes.TrimRight(f.tag, " 0123456789\x00"))
	f.tag = f.tag[:0]
	if !slices.Contains(f.unseen, tag) {
		f.unseen = append(f.unseen, tag)
	}
}
