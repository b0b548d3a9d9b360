//go:build integration

package main_test

import (
	"net/http"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// mark is in each answer that has invoices.
var mark = regexp.MustCompile(`marker-[a-z0-9-]+`)

// loadSite is a customer under load.
type loadSite struct {
	name, key, marker string
	refused           atomic.Int64 // answers that said that it is suspended

	mu   sync.Mutex // guards away
	away []absence
}

// absence is one suspension, by what was asked for when. What has not happened yet is
// zero.
type absence struct{ asked, suspended, recalled, resumed time.Time }

// could says whether a request that took from one moment to another may have been
// refused.
func (a absence) could(from, to time.Time) bool {
	return to.After(a.asked) && (a.resumed.IsZero() || from.Before(a.resumed))
}

// must says whether it must have been.
func (a absence) must(from, to time.Time) bool {
	return !a.suspended.IsZero() && from.After(a.suspended) && (a.recalled.IsZero() || to.Before(a.recalled))
}

// change changes the last absence.
func (s *loadSite) change(f func(*absence)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.away[len(s.away)-1])
}

func (s *loadSite) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = append(s.away, absence{asked: time.Now()})
}

func (s *loadSite) absent(r *vegeta.Result) (could, must bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from, to := r.Timestamp, r.Timestamp.Add(r.Latency)
	for _, a := range s.away {
		could, must = could || a.could(from, to), must || a.must(from, to)
	}
	return could, must
}

// judge returns what is wrong with an answer to a request for s, or "".
func (s *loadSite) judge(r *vegeta.Result) string {
	marks := mark.FindAllString(string(r.Body), -1)
	for _, m := range marks {
		if m != s.marker {
			return "has " + m
		}
	}
	want := uint16(http.StatusOK)
	if r.Method == http.MethodPost {
		want = http.StatusCreated
	}
	could, must := s.absent(r)
	refused := r.Code == http.StatusForbidden && len(marks) == 0
	switch {
	case refused && could:
		s.refused.Add(1)
		return ""
	case must:
		return "was answered while it is suspended"
	case r.Code != want:
		return "is none of those that may be: " + r.Error
	case len(marks) == 0:
		return "has no marker"
	}
	return ""
}

func (s *loadSite) host() string { return s.name + ".localhost" }

func TestTheLoadFindsWrongAnswers(t *testing.T) {
	t.Parallel()
	begun := time.Now()
	at := func(second int) time.Time { return begun.Add(time.Duration(second) * time.Second) }
	s := &loadSite{name: "a", marker: "marker-a-1", away: []absence{{at(10), at(12), at(20), at(22)}, {at(30), at(32), time.Time{}, time.Time{}}}}
	for name, c := range map[string]struct {
		from, to int
		method   string
		status   uint16
		body     string
		want     string
	}{
		"its own":                    {0, 1, "GET", 200, "marker-a-1 marker-a-1", ""},
		"its own invoice":            {0, 1, "POST", 201, "marker-a-1", ""},
		"another's":                  {0, 1, "GET", 200, "marker-b-1", "has marker-b-1"},
		"its own and another's":      {0, 1, "GET", 200, "marker-a-1 marker-a-12", "has marker-a-12"},
		"nobody's":                   {0, 1, "GET", 200, "[]", "has no marker"},
		"a wrong status":             {0, 1, "POST", 200, "marker-a-1", "is none of those that may be: "},
		"an error":                   {0, 1, "GET", 500, "internal error", "is none of those that may be: "},
		"no answer":                  {0, 1, "GET", 0, "", "is none of those that may be: "},
		"an error while away":        {13, 14, "GET", 500, "", "was answered while it is suspended"},
		"refused for nothing":        {0, 1, "GET", 403, "", "is none of those that may be: "},
		"refused too late":           {23, 24, "GET", 403, "", "is none of those that may be: "},
		"refused while it goes":      {9, 11, "GET", 403, "", ""},
		"refused while away":         {13, 14, "GET", 403, "", ""},
		"refused with its invoices":  {13, 14, "GET", 403, "marker-a-1", "was answered while it is suspended"},
		"refused while it comes":     {21, 23, "GET", 403, "", ""},
		"refused while still away":   {33, 99, "GET", 403, "", ""},
		"served while it goes":       {11, 14, "GET", 200, "marker-a-1", ""},
		"served while away":          {13, 14, "GET", 200, "marker-a-1", "was answered while it is suspended"},
		"served while it comes back": {13, 21, "GET", 200, "marker-a-1", ""},
		"served while still away":    {33, 99, "GET", 200, "marker-a-1", "was answered while it is suspended"},
	} {
		r := &vegeta.Result{Method: c.method, Code: c.status, Body: []byte(c.body), Timestamp: at(c.from), Latency: at(c.to).Sub(at(c.from))}
		if got := s.judge(r); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
