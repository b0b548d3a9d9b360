package watchdog

import (
	"strings"
	"sync"
)

// tailSize is how many bytes of a log are kept.
const tailSize = 4096

// Tail is a log for [Command] that keeps its last bytes, to quote them in an
// error. The zero value is empty. Its methods are safe for concurrent use.
type Tail struct {
	mu  sync.Mutex // guards end
	end []byte
}

// Write never fails.
func (t *Tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end = append(t.end, p...)
	t.end = t.end[max(0, len(t.end)-tailSize):]
	return len(p), nil
}

// String returns what is kept.
func (t *Tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.end))
}

// Quoted returns the end of an error text that quotes the log.
func (t *Tail) Quoted() string {
	s := t.String()
	if s == "" {
		return "; it wrote no log"
	}
	return "; its log ends with:\n\t" + strings.ReplaceAll(s, "\n", "\n\t")
}
