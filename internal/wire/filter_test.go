package wire_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/tenantry/tenantry/internal/wire"
)

// encode returns messages as the bytes of a stream.
func encode(t testing.TB, messages ...interface {
	Encode([]byte) ([]byte, error)
},
) []byte {
	t.Helper()
	var buf []byte
	var err error
	for _, m := range messages {
		if buf, err = m.Encode(buf); err != nil {
			t.Fatal(err)
		}
	}
	return buf
}

type message = interface {
	Encode([]byte) ([]byte, error)
}

var (
	notice  = &pgproto3.NoticeResponse{Severity: "NOTICE", Message: "hear, hear"}
	status  = &pgproto3.ParameterStatus{Name: "search_path", Value: "tenant_a"}
	notify  = &pgproto3.NotificationResponse{PID: 7, Channel: "c", Payload: "p"}
	setting = &pgproto3.DataRow{Values: [][]byte{[]byte("\"tenant_a\", pg_temp"), []byte("4711")}}
	ready   = &pgproto3.ReadyForQuery{TxStatus: 'I'}
	failure = &pgproto3.ErrorResponse{Severity: "ERROR", Code: "3F000", Message: "schema does not exist"}
)

func statement(values ...string) []message {
	replies := []message{&pgproto3.ParseComplete{}, &pgproto3.BindComplete{}}
	for _, v := range values {
		replies = append(replies, &pgproto3.DataRow{Values: [][]byte{[]byte(v)}})
	}
	return append(replies, &pgproto3.CommandComplete{CommandTag: fmt.Appendf(nil, "SELECT %d", len(values))})
}

func prefixReplies(between ...message) []message {
	var out []message
	for _, m := range []message{&pgproto3.ParseComplete{}, &pgproto3.BindComplete{}, setting, &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}} {
		out = append(append(out, between...), m)
	}
	return out
}

// cutReader gives its parts one by one, and io.EOF after them.
type cutReader struct {
	parts [][]byte
	rest  []byte
}

func (r *cutReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if len(r.parts) == 0 {
			return 0, io.EOF
		}
		r.rest, r.parts = r.parts[0], r.parts[1:]
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func prefix(t testing.TB, statements int) wire.Prefix {
	t.Helper()
	var p wire.Prefix
	for range statements {
		if err := p.Add("select pg_catalog.set_config($1,$2,true)", "search_path", "tenant_a"); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func group(t testing.TB, query string) []byte {
	t.Helper()
	return encode(t, &pgproto3.Parse{Query: query}, &pgproto3.Bind{}, &pgproto3.Describe{ObjectType: 'P'}, &pgproto3.Execute{}, &pgproto3.Sync{})
}

// filtered returns a filter that has sent a group behind a prefix of the given
// number of statements, and reads the parts.
func filtered(t testing.TB, statements int, parts ...[]byte) *wire.Filter {
	t.Helper()
	f := wire.NewFilter(&cutReader{parts: parts}, io.Discard)
	f.Arm(wire.Group{Prefixes: []wire.Prefix{prefix(t, statements)}})
	if _, err := f.Write(group(t, "select 1")); err != nil {
		t.Fatal(err)
	}
	if !f.Disarm() {
		t.Fatal("the group was not sent")
	}
	return f
}

// readAll reads with a buffer of the given size.
func readAll(f *wire.Filter, size int) ([]byte, error) {
	var out []byte
	p := make([]byte, size)
	for {
		n, err := f.Read(p)
		out = append(out, p[:n]...)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
	}
}

func TestFilterDropsThePrefixReplies(t *testing.T) {
	t.Parallel()
	large := statement(string(bytes.Repeat([]byte("x"), 100_000)), "small")
	tests := []struct {
		name       string
		statements int
		stream     []message
		want       []message
		failed     bool
	}{
		{"a statement", 1, append(prefixReplies(), append(statement("a", "b"), ready)...), append(statement("a", "b"), ready), false},
		{"a prefix of two statements", 2, append(append([]message{&pgproto3.ParseComplete{}, &pgproto3.BindComplete{}, &pgproto3.CommandComplete{CommandTag: []byte("DISCARD TEMP")}}, prefixReplies()...), append(statement("a"), ready)...), append(statement("a"), ready), false},
		{"a notice between all", 1, append(prefixReplies(notice), append(statement("a"), ready)...), append([]message{notice, notice, notice, notice}, append(statement("a"), ready)...), false},
		{"a status and a notification between all", 1, append(prefixReplies(status, notify), append(statement(), ready)...), append([]message{status, notify, status, notify, status, notify, status, notify}, append(statement(), ready)...), false},
		{"an error in the prefix", 1, []message{&pgproto3.ParseComplete{}, failure, ready}, []message{failure, ready}, true},
		{"an error at once", 2, []message{failure, ready}, []message{failure, ready}, true},
		{"an error in the statement", 1, append(prefixReplies(), &pgproto3.ParseComplete{}, failure, ready), []message{&pgproto3.ParseComplete{}, failure, ready}, false},
		{"large rows", 1, append(prefixReplies(), append(large, ready)...), append(large, ready), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			stream, want := encode(t, tt.stream...), encode(t, tt.want...)
			check := func(size int, parts ...[]byte) {
				t.Helper()
				f := filtered(t, tt.statements, parts...)
				got, err := readAll(f, size)
				if err != nil {
					t.Fatalf("buffer %d: %v", size, err)
				}
				if !bytes.Equal(got, want) {
					t.Fatalf("buffer %d: got %q, want %q", size, got, want)
				}
				if f.PrefixFailed() != tt.failed {
					t.Fatalf("PrefixFailed is %t, want %t", f.PrefixFailed(), tt.failed)
				}
			}
			for _, size := range []int{1, 2, 3, 4, 5, 6, 7, 64, 8192} {
				check(size, stream)
			}
			for cut := range min(len(stream), 400) { // with large rows, the boundaries around the prefix
				check(8192, stream[:cut], stream[cut:])
				if len(stream) < 2000 {
					check(3, stream[:cut], stream[cut:])
					check(5, stream[:cut], stream[cut:])
				}
			}
			if len(stream) < 2000 { // one byte at a time
				var bytewise [][]byte
				for i := range stream {
					bytewise = append(bytewise, stream[i:i+1])
				}
				check(8192, bytewise...)
				check(1, bytewise...)
			}
		})
	}
}

func TestFilterRefusesRepliesOutOfOrder(t *testing.T) {
	t.Parallel()
	tests := map[string][]message{
		"no ParseComplete":       {&pgproto3.BindComplete{}},
		"ReadyForQuery early":    {&pgproto3.ParseComplete{}, ready},
		"a row before Bind":      {&pgproto3.ParseComplete{}, setting},
		"CommandComplete early":  {&pgproto3.ParseComplete{}, &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}},
		"an unexpected RowField": {&pgproto3.ParseComplete{}, &pgproto3.BindComplete{}, &pgproto3.RowDescription{}},
	}
	for name, stream := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, size := range []int{1, 8192} {
				f := filtered(t, 1, encode(t, stream...), encode(t, statement("somebody's")...))
				got, err := readAll(f, size)
				if err == nil || len(got) > 0 {
					t.Fatalf("got %q and error %v, want no byte and an error", got, err)
				}
				if _, again := f.Read(make([]byte, 10)); !errors.Is(again, err) {
					t.Fatalf("the error %v does not stay: %v", err, again)
				}
			}
		})
	}
}

func TestFilterRefusesANegativeLength(t *testing.T) {
	t.Parallel()
	for _, size := range []int{2, 100} {
		if _, err := readAll(filtered(t, 1, []byte{'1', 0xff, 0xff, 0xff, 0xff}), size); err == nil {
			t.Fatal("no error")
		}
	}
}

func TestFilterUnarmedPassesEverything(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	in := encode(t, append(statement("a"), ready)...)
	f := wire.NewFilter(&cutReader{parts: [][]byte{bytes.Clone(in)}}, &out)
	b := encode(t, &pgproto3.Query{String: "select 1; select 2"})
	if n, err := f.Write(b); n != len(b) || err != nil {
		t.Fatal(n, err)
	}
	if !bytes.Equal(out.Bytes(), b) {
		t.Fatalf("sent %q, want %q", out.Bytes(), b)
	}
	if got, err := readAll(f, 16); err != nil || !bytes.Equal(got, in) {
		t.Fatalf("read %q and %v, want %q", got, err, in)
	}
}

func TestFilterWritesThePrefixInTheSameWrite(t *testing.T) {
	t.Parallel()
	var writes [][]byte
	f := wire.NewFilter(&cutReader{}, writerFunc(func(p []byte) (int, error) {
		writes = append(writes, bytes.Clone(p))
		return len(p), nil
	}))
	b := group(t, "select 1")
	f.Arm(wire.Group{Prefixes: []wire.Prefix{prefix(t, 1)}})
	if n, err := f.Write(b); n != len(b) || err != nil {
		t.Fatalf("Write returned %d and %v, want the caller's %d bytes", n, err, len(b))
	}
	want := append(encode(t,
		&pgproto3.Parse{Query: "select pg_catalog.set_config($1,$2,true)"},
		&pgproto3.Bind{Parameters: [][]byte{[]byte("search_path"), []byte("tenant_a")}},
		&pgproto3.Execute{}), b...)
	if len(writes) != 1 || !bytes.Equal(writes[0], want) {
		t.Fatalf("wrote %q, want one write of %q", writes, want)
	}
}

func TestFilterPutsParameterTypesIn(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	f := wire.NewFilter(&cutReader{}, &out)
	f.Arm(wire.Group{OIDs: []uint32{17, 0}})
	if _, err := f.Write(group(t, "insert into t values ($1, $2)")); err != nil {
		t.Fatal(err)
	}
	want := encode(t, &pgproto3.Parse{Query: "insert into t values ($1, $2)", ParameterOIDs: []uint32{17, 0}},
		&pgproto3.Bind{}, &pgproto3.Describe{ObjectType: 'P'}, &pgproto3.Execute{}, &pgproto3.Sync{})
	if !bytes.Equal(out.Bytes(), want) {
		t.Fatalf("wrote %q, want %q", out.Bytes(), want)
	}
}

// TestFilterNamesTheStatement of the group: a new one is prepared under its name and described,
// of one that the server has neither is sent.
func TestFilterNamesTheStatement(t *testing.T) {
	t.Parallel()
	sent := &pgproto3.Bind{Parameters: [][]byte{[]byte("a\x00b"), nil}, ResultFormatCodes: []int16{1}}
	b := encode(t, &pgproto3.Parse{Query: "select $1, $2"}, sent, &pgproto3.Describe{ObjectType: 'P'}, &pgproto3.Execute{}, &pgproto3.Sync{})
	bind := &pgproto3.Bind{PreparedStatement: "s1", Parameters: sent.Parameters, ResultFormatCodes: sent.ResultFormatCodes}
	described := encode(t, bind, &pgproto3.Describe{ObjectType: 'S', Name: "s1"}, &pgproto3.Execute{}, &pgproto3.Sync{})
	for name, tt := range map[string]struct {
		group wire.Group
		want  []byte
	}{
		"new":            {wire.Group{Name: "s1"}, append(encode(t, &pgproto3.Parse{Name: "s1", Query: "select $1, $2"}), described...)},
		"new with types": {wire.Group{Name: "s1", OIDs: []uint32{17, 0}}, append(encode(t, &pgproto3.Parse{Name: "s1", Query: "select $1, $2", ParameterOIDs: []uint32{17, 0}}), described...)},
		"kept":           {wire.Group{Name: "s1", OIDs: []uint32{17, 0}, Kept: &wire.Description{}}, encode(t, bind, &pgproto3.Execute{}, &pgproto3.Sync{})},
	} {
		var out bytes.Buffer
		f := wire.NewFilter(&cutReader{}, &out)
		f.Arm(tt.group)
		if n, err := f.Write(b); n != len(b) || err != nil {
			t.Errorf("%s: Write returned %d and %v", name, n, err)
		}
		if !bytes.Equal(out.Bytes(), tt.want) {
			t.Errorf("%s: wrote %q, want %q", name, out.Bytes(), tt.want)
		}
	}
}

func times(oid uint32) bool { return oid == 1184 }

// TestFilterAnswersWithTheColumns of a kept statement what the server has said of it when it
// was new, wherever the stream is cut, and before anything is read.
func TestFilterAnswersWithTheColumns(t *testing.T) {
	t.Parallel()
	params := &pgproto3.ParameterDescription{ParameterOIDs: []uint32{1184, 20}}
	columns := &pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("id"), DataTypeOID: 20}, {Name: []byte("at"), DataTypeOID: 1184}}}
	tail := []message{&pgproto3.DataRow{Values: [][]byte{[]byte("1"), nil}}, &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}, ready}
	for name, said := range map[string]message{"rows": columns, "no rows": &pgproto3.NoData{}} {
		first := encode(t, append(append(prefixReplies(), &pgproto3.ParseComplete{}, notice, &pgproto3.BindComplete{}, params, notice, said), tail...)...)
		firstTheirs := encode(t, append([]message{&pgproto3.ParseComplete{}, notice, &pgproto3.BindComplete{}, notice, said}, tail...)...)
		again := encode(t, append(append(prefixReplies(), &pgproto3.BindComplete{}), tail...)...)
		answer := said
		if name == "rows" {
			answer = &pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{columns.Fields[0], {Name: []byte("at"), DataTypeOID: 1184, Format: 1}}}
		}
		columnsOnly := encode(t, answer)
		againTheirs := encode(t, append([]message{answer, &pgproto3.BindComplete{}}, tail...)...)
		check := func(size, cut, between int) {
			t.Helper()
			r := &cutReader{parts: [][]byte{first[:cut], bytes.Clone(first[cut:])}}
			var sent bytes.Buffer
			f := wire.NewFilter(r, &sent)
			send := func(kept *wire.Description) {
				t.Helper()
				f.Arm(wire.Group{Prefixes: []wire.Prefix{prefix(t, 1)}, Name: "s1", Kept: kept})
				if _, err := f.Write(group(t, "select 1")); err != nil {
					t.Fatal(err)
				}
			}
			read := func(what string, want []byte) {
				t.Helper()
				if got, err := readAll(f, size); err != nil || !bytes.Equal(got, want) {
					t.Fatalf("%s, %s, buffer %d, cut %d: read %q and %v, want %q", name, what, size, cut, got, err, want)
				}
			}
			send(nil)
			if f.Described(times) != nil {
				t.Fatal("a description before anything was read")
			}
			read("new", firstTheirs)
			d := f.Described(times)
			if d == nil || !slices.Equal(d.Params, params.ParameterOIDs) {
				t.Fatalf("%s, buffer %d, cut %d: described as %v, want the parameters %v", name, size, cut, d, params.ParameterOIDs)
			}
			idle := encode(t, notice)
			r.parts = [][]byte{idle[:between]}
			read("between", idle[:between])
			r.parts = [][]byte{append(bytes.Clone(idle[between:]), again...)}
			sent.Reset()
			send(d)
			if formats := []byte{0, 2, 0, 0, 0, 1}; bytes.Contains(sent.Bytes(), formats) != (name == "rows") {
				t.Fatalf("%s: sent %q, want the formats %q of rows", name, sent.Bytes(), formats)
			}
			want := append(bytes.Clone(idle[between:]), againTheirs...) // not within a message
			if between == 0 {
				want = slices.Concat(columnsOnly, idle, againTheirs[len(columnsOnly):])
			}
			read("kept", want)
		}
		for cut := range first {
			check(8192, cut, 0)
			check(3, cut, 0)
		}
		for _, between := range []int{0, 5, 6, 11} { // of the bytes of a message that comes between the groups
			for size := 1; size < 40; size++ {
				check(size, 7, between)
			}
		}
	}
}

// TestFilterPutsSomethingBetweenBindAndExecution, of which the caller gets no reply, and says
// whether the server has come so far.
func TestFilterPutsSomethingBetweenBindAndExecution(t *testing.T) {
	t.Parallel()
	var before, between wire.Prefix
	if err := errors.Join(before.Add("savepoint s"), between.Run("r")); err != nil {
		t.Fatal(err)
	}
	bound := []message{&pgproto3.ParseComplete{}, &pgproto3.BindComplete{}, &pgproto3.CommandComplete{CommandTag: []byte("SAVEPOINT")}}
	released := append(slices.Clone(bound), &pgproto3.BindComplete{}, notice, &pgproto3.BindComplete{}, &pgproto3.CommandComplete{CommandTag: []byte("RELEASE")})
	row := &pgproto3.DataRow{Values: [][]byte{[]byte("x")}}
	end := []message{row, &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}, &pgproto3.CloseComplete{}, ready}
	for name, tt := range map[string]struct {
		stream, want []message
		unbound      bool
	}{
		"all":                       {append(slices.Clone(released), end...), append([]message{&pgproto3.BindComplete{}, notice}, end...), false},
		"an error in Bind":          {append(slices.Clone(bound), failure, ready), []message{failure, ready}, true},
		"an error at once":          {[]message{failure, ready}, []message{failure, ready}, true},
		"an error in between":       {append(slices.Clone(bound), &pgproto3.BindComplete{}, failure, ready), []message{&pgproto3.BindComplete{}, failure, ready}, true},
		"an error in its execution": {append(slices.Clone(released), failure, ready), []message{&pgproto3.BindComplete{}, notice, failure, ready}, false},
	} {
		in, want := encode(t, tt.stream...), encode(t, tt.want...)
		for size := 1; size < len(in)+2; size++ {
			var sent bytes.Buffer
			f := wire.NewFilter(bytes.NewReader(in), &sent)
			f.Arm(wire.Group{Prefixes: []wire.Prefix{before}, Name: "s1", Kept: &wire.Description{}, Between: between, Portal: "p"})
			if _, err := f.Write(group(t, "select 1")); err != nil {
				t.Fatal(err)
			}
			if out := encode(t, &pgproto3.Parse{Query: "savepoint s"}, &pgproto3.Bind{}, &pgproto3.Execute{},
				&pgproto3.Bind{DestinationPortal: "p", PreparedStatement: "s1"}, &pgproto3.Bind{PreparedStatement: "r"}, &pgproto3.Execute{},
				&pgproto3.Execute{Portal: "p"}, &pgproto3.Close{ObjectType: 'P', Name: "p"}, &pgproto3.Sync{}); !bytes.Equal(sent.Bytes(), out) {
				t.Fatalf("sent %q, want %q", sent.Bytes(), out)
			}
			if got, err := readAll(f, size); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%s, buffer %d: read %q and %v, want %q", name, size, got, err, want)
			}
			if f.Unbound() != tt.unbound {
				t.Fatalf("%s: Unbound is %t", name, f.Unbound())
			}
		}
	}
}

// TestFilterHasNoDescriptionOfWhatFailed.
func TestFilterHasNoDescriptionOfWhatFailed(t *testing.T) {
	t.Parallel()
	params := &pgproto3.ParameterDescription{ParameterOIDs: []uint32{20}}
	for name, stream := range map[string][]message{
		"the prefix":    {failure, ready},
		"the statement": append(prefixReplies(), failure, ready),
		"its execution": append(prefixReplies(), &pgproto3.ParseComplete{}, failure, ready),
		"half of it":    append(prefixReplies(), &pgproto3.ParseComplete{}, &pgproto3.BindComplete{}, params),
	} {
		f := wire.NewFilter(&cutReader{parts: [][]byte{encode(t, stream...)}}, io.Discard)
		f.Arm(wire.Group{Prefixes: []wire.Prefix{prefix(t, 1)}, Name: "s1"})
		if _, err := f.Write(group(t, "select 1")); err != nil {
			t.Fatal(err)
		}
		if _, err := readAll(f, 100); err != nil {
			t.Fatal(err)
		}
		if d := f.Described(times); d != nil {
			t.Errorf("%s failed, and is described as %v", name, d)
		}
	}
}

// TestFilterDropsTheRepliesToNamedPrefixes: there are fewer of what the server has
// already, and one of what it is to forget.
func TestFilterDropsTheRepliesToNamedPrefixes(t *testing.T) {
	t.Parallel()
	var first, second wire.Prefix
	if err := errors.Join(first.Close("s0"), first.Prepare("p1", "select 1"), first.Run("p1"), second.Run("p1")); err != nil {
		t.Fatal(err)
	}
	theirs := encode(t, &pgproto3.BindComplete{}, &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}, &pgproto3.ReadyForQuery{TxStatus: 'I'})
	row := &pgproto3.DataRow{Values: [][]byte{[]byte("x")}}
	in := append(encode(t, &pgproto3.CloseComplete{}, &pgproto3.ParseComplete{},
		&pgproto3.BindComplete{}, row, &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")},
		&pgproto3.BindComplete{}, row, row, &pgproto3.CommandComplete{CommandTag: []byte("SELECT 2")}), theirs...)
	for size := 1; size < len(in)+2; size++ {
		f := wire.NewFilter(bytes.NewReader(in), io.Discard)
		f.Arm(wire.Group{Prefixes: []wire.Prefix{first, second}, Name: "s1", Kept: &wire.Description{}})
		if _, err := f.Write(group(t, "select 1")); err != nil {
			t.Fatal(err)
		}
		if got, err := readAll(f, size); err != nil || !bytes.Equal(got, theirs) {
			t.Fatalf("with a buffer of %d: read %q and %v, want %q", size, got, err, theirs)
		}
		if !f.Passed() || f.PrefixFailed() {
			t.Fatal("the prefix counts as refused")
		}
	}
}

func TestFilterSendsNothingThatWouldPassWithoutThePrefix(t *testing.T) {
	t.Parallel()
	full := group(t, "select 1")
	tests := map[string][]byte{
		"a simple query":          encode(t, &pgproto3.Query{String: "select 1"}),
		"two groups in one write": append(bytes.Clone(full), full...),
		"a group without Sync":    full[:len(full)-5],
		"half a message":          full[:len(full)-1],
		"nothing":                 {},
		"Sync alone":              encode(t, &pgproto3.Sync{}),
		"a simple query behind":   append(encode(t, &pgproto3.Parse{Query: "select 1"}, &pgproto3.Sync{}), encode(t, &pgproto3.Query{String: "select 1"})...),
		"Parse alone":             encode(t, &pgproto3.Parse{Query: "select 1"}, &pgproto3.Sync{}),
		"a name already given":    encode(t, &pgproto3.Parse{Name: "x", Query: "select 1"}, &pgproto3.Bind{PreparedStatement: "x"}, &pgproto3.Execute{}, &pgproto3.Sync{}),
		"another one's Bind":      encode(t, &pgproto3.Parse{Query: "select 1"}, &pgproto3.Bind{PreparedStatement: "x"}, &pgproto3.Execute{}, &pgproto3.Sync{}),
		"types already given":     encode(t, &pgproto3.Parse{Query: "select $1", ParameterOIDs: []uint32{25}}, &pgproto3.Sync{}),
	}
	for name, b := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			f := wire.NewFilter(&cutReader{}, &out)
			f.Arm(wire.Group{Prefixes: []wire.Prefix{prefix(t, 1)}, OIDs: []uint32{25}, Name: "s1"})
			if n, err := f.Write(b); n != 0 || err == nil {
				t.Errorf("Write returned %d and %v, want 0 and an error", n, err)
			}
			if out.Len() > 0 {
				t.Errorf("sent %q", out.Bytes())
			}
			if f.Disarm() {
				t.Error("the group counts as sent")
			}
		})
	}
}

func TestFilterIsArmedForOneGroup(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	f := wire.NewFilter(&cutReader{parts: [][]byte{encode(t, append(prefixReplies(), ready)...)}}, &out)
	f.Arm(wire.Group{Prefixes: []wire.Prefix{prefix(t, 1)}})
	b := group(t, "select 1")
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
	if _, err := readAll(f, 100); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if _, err := f.Write(b); err != nil || !bytes.Equal(out.Bytes(), b) {
		t.Fatalf("the second group: error %v, sent %q, want it as it is", err, out.Bytes())
	}
}

// TestFilterFollowsAMessageThatBeganBeforeTheGroup: the server may send a message between two
// groups, such as the last one of a session that is killed, and the frontend have read a part of it.
func TestFilterFollowsAMessageThatBeganBeforeTheGroup(t *testing.T) {
	t.Parallel()
	for _, between := range []message{notice, status, notify, failure} {
		idle, replies := encode(t, between), encode(t, append(append(prefixReplies(), statement("a")...), ready)...)
		theirs := encode(t, append(statement("a"), ready)...)
		if between == failure { // the session has ended
			replies, theirs = nil, nil
		}
		for n := 1; n < len(idle); n++ {
			r := &cutReader{parts: [][]byte{idle[:n]}}
			f := wire.NewFilter(r, io.Discard)
			before, err := readAll(f, 100)
			if err != nil {
				t.Fatal(err)
			}
			r.parts = [][]byte{idle[n:], replies}
			f.Arm(wire.Group{Prefixes: []wire.Prefix{prefix(t, 1)}})
			if _, err := f.Write(group(t, "select 1")); err != nil {
				t.Fatal(err)
			}
			after, err := readAll(f, 100)
			if got := slices.Concat(before, after); err != nil || !bytes.Equal(got, slices.Concat(idle, theirs)) {
				t.Fatalf("%d bytes of %T came before: read %q and %v", n, between, got, err)
			}
			if f.PrefixFailed() && between != failure {
				t.Fatalf("%d bytes of %T came before: the prefix counts as refused", n, between)
			}
		}
	}
}

func TestFilterRefusesAGroupBeforeTheLastIsRead(t *testing.T) {
	t.Parallel()
	f := filtered(t, 1)
	f.Arm(wire.Group{Prefixes: []wire.Prefix{prefix(t, 1)}})
	if _, err := f.Write(group(t, "select 1")); err == nil {
		t.Fatal("no error")
	}
}

func TestFilterLetsTerminatePassWhileArmed(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	f := wire.NewFilter(&cutReader{}, &out)
	f.Arm(wire.Group{Prefixes: []wire.Prefix{prefix(t, 1)}})
	b := encode(t, &pgproto3.Terminate{})
	if _, err := f.Write(b); err != nil || !bytes.Equal(out.Bytes(), b) {
		t.Fatalf("error %v, sent %q", err, out.Bytes())
	}
}

func TestFilterReportsTheCallersBytesOfAFailedWrite(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken pipe")
	b := group(t, "select 1")
	var lead bytes.Buffer
	probe := wire.NewFilter(&cutReader{}, &lead)
	probe.Arm(wire.Group{Prefixes: []wire.Prefix{prefix(t, 1)}})
	if _, err := probe.Write(b); err != nil {
		t.Fatal(err)
	}
	prefixLen := lead.Len() - len(b)
	for _, tt := range []struct{ written, want int }{{0, 0}, {1, 0}, {prefixLen, 0}, {prefixLen + 3, 3}} {
		f := wire.NewFilter(&cutReader{}, writerFunc(func([]byte) (int, error) { return tt.written, broken }))
		f.Arm(wire.Group{Prefixes: []wire.Prefix{prefix(t, 1)}})
		if n, err := f.Write(b); n != tt.want || !errors.Is(err, broken) {
			t.Errorf("%d bytes went out: Write returned %d and %v, want %d", tt.written, n, err, tt.want)
		}
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
