package driver

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"
)

type (
	word   string
	count  uint8
	shout  string
	valued struct {
		v   driver.Value
		err error
	}
	pointed struct{}
)

func (s shout) String() string { return string(s) + "!" }

func (v valued) Value() (driver.Value, error) { return v.v, v.err }

func (p *pointed) Value() (driver.Value, error) {
	if p == nil {
		panic("called on a nil pointer")
	}
	return "pointed", nil
}

func TestPlain(t *testing.T) {
	t.Parallel()
	text, number := "text", 7
	at := time.Date(2024, 5, 6, 7, 8, 9, 123456789, time.FixedZone("", -3600))
	tests := []struct {
		in    any
		want  any
		plain bool
	}{
		{nil, nil, true},
		{"x", "x", true},
		{true, "true", true},
		{int8(-1), int64(-1), true},
		{uint64(math.MaxUint64), "18446744073709551615", true},
		{uint64(1), int64(1), true},
		{float32(0.5), 0.5, true},
		{1.5, 1.5, true},
		{at, "2024-05-06 07:08:09.123456-01", true},
		{&at, "2024-05-06 07:08:09.123456-01", true},
		{&text, "text", true},
		{&number, int64(7), true},
		{(*string)(nil), nil, true},
		{(*pointed)(nil), nil, true},
		{&pointed{}, "pointed", true},
		{word("w"), "w", true},
		{count(3), int64(3), true},
		{valued{v: int64(4)}, int64(4), true},
		{valued{v: nil}, nil, true},
		{valued{v: at}, "2024-05-06 07:08:09.123456-01", true},
		{valued{v: []byte("b")}, []byte("b"), false},
		{shout("s"), shout("s"), false},
		{[]byte("b"), []byte("b"), false},
		{[]string{"a"}, []string{"a"}, false},
		{map[string]int{}, map[string]int{}, false},
		{time.Second, time.Second, false},
	}
	for _, tt := range tests {
		got, plain, err := plain(tt.in)
		if err != nil || plain != tt.plain || fmt.Sprintf("%T %v", got, got) != fmt.Sprintf("%T %v", tt.want, tt.want) {
			t.Errorf("%T %v: got %T %v, plain %t, error %v; want %T %v, %t", tt.in, tt.in, got, got, plain, err, tt.want, tt.want, tt.plain)
		}
	}
	broken := errors.New("broken")
	if _, _, err := plain(valued{err: broken}); !errors.Is(err, broken) {
		t.Errorf("got error %v, want the Valuer's", err)
	}
}

// TestTypeCacheIsBounded in bytes, whatever texts come, and keeps what is asked for all the time.
func TestTypeCacheIsBounded(t *testing.T) { //nolint:paralleltest // it measures the heap
	const usual, batches = 100_000, 2000
	tests := map[string]func(put func(query string, params int)){
		"short texts": func(put func(string, int)) {
			for i := range usual {
				put(fmt.Sprint("insert into t values ($1) -- ", i), 1)
			}
		},
		"batches of growing length": func(put func(string, int)) {
			text := strings.Repeat("($1, $2, $3, $4), ", batches)
			for i := range batches {
				put(text[:len("($1, $2, $3, $4), ")*(i+1)], 4*(i+1))
			}
		},
		"one that has all parameters": func(put func(string, int)) {
			for i := range 100 {
				put(fmt.Sprint(i), math.MaxUint16)
			}
		},
	}
	for name, fill := range tests {
		var c typeCache
		often := newTypeKey(0, "", "often")
		c.put(often, []uint32{7})
		before := heap()
		fill(func(query string, params int) {
			c.put(newTypeKey(0, "", strings.Clone(query)), make([]uint32, params))
			if _, ok := c.get(often); !ok {
				t.Fatalf("%s: what is asked for all the time was forgotten", name)
			}
		})
		if grown := heap() - before; grown > 3*typeCacheBytes {
			t.Errorf("%s: the cache takes %d bytes, want %d at the most, and half of it on top for the garbage collector's sake", name, grown, 2*typeCacheBytes)
		}
		c.remove(often)
		if _, ok := c.get(often); ok {
			t.Errorf("%s: removed, but still there", name)
		}
	}
}

// heap returns how many bytes are reachable.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
