package wire_test

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// FuzzFilter feeds the filter arbitrary streams, cut at arbitrary places and
// read into buffers of arbitrary size, and holds it against expected, which
// sees the whole stream at once.
func FuzzFilter(f *testing.F) {
	whole := encode(f, append(prefixReplies(notice), append(statement("a", "b"), ready)...)...)
	f.Add(whole, []byte{1, 2, 3}, uint8(3), uint8(1))
	f.Add(whole, []byte{}, uint8(255), uint8(1))
	f.Add(append(bytes.Clone(whole), whole...), []byte{5, 5, 5, 5}, uint8(5), uint8(2))
	f.Add(encode(f, failure, ready), []byte{4, 1}, uint8(1), uint8(1))
	f.Add([]byte{'1', 0, 0, 0, 3}, []byte{}, uint8(9), uint8(1))
	f.Fuzz(func(t *testing.T, stream, cuts []byte, size, statements uint8) {
		n := int(statements % 3)
		filter := filtered(t, n, cut(stream, cuts)...)
		got, err := readAll(filter, int(size)+1)
		want, bad, failed := expected(stream, n)
		if bad != (err != nil) {
			t.Fatalf("error %v, want one: %t", err, bad)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("got %q, want %q of %q", got, want, stream)
		}
		if filter.PrefixFailed() != failed {
			t.Fatalf("PrefixFailed is %t, want %t", filter.PrefixFailed(), failed)
		}
	})
}

func cut(stream, cuts []byte) [][]byte {
	var parts [][]byte
	rest := bytes.Clone(stream)
	for _, c := range cuts {
		n := min(int(c), len(rest))
		parts = append(parts, rest[:n:n])
		rest = rest[n:]
	}
	return append(parts, rest)
}

// expected is what the filter lets through of a stream, by the rules alone.
func expected(stream []byte, statements int) (out []byte, bad, failed bool) {
	order := 0
	for len(stream) >= 5 { // less is a header that has not arrived
		n := int(int32(binary.BigEndian.Uint32(stream[1:])))
		if n < 4 {
			return out, true, failed
		}
		message := stream[:min(1+n, len(stream))]
		stream = stream[len(message):]
		switch kind := message[0]; {
		case statements == 0 || kind == 'N' || kind == 'S' || kind == 'A':
			out = append(out, message...)
		case kind == 'E':
			out = append(out, message...)
			statements, failed = 0, true
		case kind == "12"[min(order, 1)] && order < 2:
			order++
		case order == 2 && kind == 'D':
		case order == 2 && kind == 'C':
			order = 0
			statements--
		default:
			return out, true, false
		}
	}
	return out, false, failed
}
