package wire_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/tenantry/tenantry/internal/wire"
)

func TestWatchSeesTheSQLOfEachMessage(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	var seen []string
	f := wire.NewFilter(&cutReader{}, &out)
	f.Watch(func(name, sql string) error {
		seen = append(seen, fmt.Sprintf("%s:%s", name, sql))
		return nil
	})
	b := encode(t, &pgproto3.Parse{Name: "q", Query: "select 1"}, &pgproto3.Bind{}, &pgproto3.Sync{}, &pgproto3.Query{String: "set x = 1"}, &pgproto3.CopyData{Data: []byte("Q")})
	if _, err := f.Write(b); err != nil || !bytes.Equal(out.Bytes(), b) {
		t.Fatalf("error %v, sent %q", err, out.Bytes())
	}
	if want := []string{"q:select 1", ":set x = 1"}; !slices.Equal(seen, want) {
		t.Errorf("saw %q, want %q", seen, want)
	}
	f.Watch(nil)
	if _, err := f.Write(b); err != nil || len(seen) != 2 {
		t.Errorf("after the end: error %v, saw %q", err, seen)
	}
}

func TestWatchKeepsAWriteBack(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	no := errors.New("no")
	f := wire.NewFilter(&cutReader{}, &out)
	f.Watch(func(string, string) error { return no })
	if n, err := f.Write(encode(t, &pgproto3.Query{String: "commit"})); n != 0 || !errors.Is(err, no) || out.Len() > 0 {
		t.Errorf("Write returned %d and %v, sent %q", n, err, out.Bytes())
	}
}
