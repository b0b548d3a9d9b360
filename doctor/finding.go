package doctor

import "fmt"

// Severity says how much a finding matters.
type Severity int

// The severities, in ascending order.
const (
	Info    Severity = iota // a fact that is good to know; nothing has to be done
	Warning                 // it works, and holds less than it should
	Problem                 // it fails, or will, or tenants are not kept apart
)

// String returns the name of s in lower case.
func (s Severity) String() string {
	switch s {
	case Info:
		return "info"
	case Warning:
		return "warning"
	case Problem:
		return "problem"
	}
	return fmt.Sprintf("Severity(%d)", int(s))
}

// MarshalText returns what String returns, for JSON and other encodings.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Finding is one thing that [Examine] has found. Its texts are for people, may
// change between versions, and hold no password and no connection string.
type Finding struct {
	ID       string // names the kind of finding: one of [IDs]
	Severity Severity
	What     string // what was measured
	Why      string // why it matters
	How      string // how to mend it; of an Info, what to bear in mind
}

// Worst returns the highest severity among findings, [Info] if there are none.
func Worst(findings []Finding) Severity {
	worst := Info
	for _, f := range findings {
		worst = max(worst, f.Severity)
	}
	return worst
}
