package migrator

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tenantry/tenantry/scope"
)

// Report says what a run has done.
type Report struct {
	// Run is the run's number in the ledger; 0 if there was nothing to do.
	Run int64

	// Shared are the migrations of the shared tables that this call applied.
	Shared []string

	// Results has one entry for each tenant that was selected, in the order of the
	// list.
	Results []Result
}

// Result is what a run has done for one tenant.
type Result struct {
	Tenant     scope.Tenant
	State      State         // Pending if its turn never came
	Applied    []string      // ids applied by this call, in order
	RolledBack []string      // ids undone by this call, in order
	Attempts   int           // tries by this call; 0 if it had nothing to do, or another process did it
	Duration   time.Duration // waiting for locks included; 0 like Attempts
	Err        error         // nil, or a *scope.TenantError
}

// Count returns how many tenants are in a state.
func (r Report) Count(s State) int {
	n := 0
	for _, result := range r.Results {
		if result.State == s {
			n++
		}
	}
	return n
}

var (
	// ErrStopped says that a run ended before all tenants had their turn: one of its
	// canaries failed, or as many tenants as StopAfter allows.
	ErrStopped = errors.New("migrator: stopped")

	// ErrSuperseded says that another run has taken over: this process could not
	// reach the ledger for longer than its lease.
	ErrSuperseded = errors.New("migrator: another run has taken over")

	// ErrNoRollback says that a migration has no Rollback function.
	ErrNoRollback = errors.New("migrator: the migration has no Rollback function")
)

// UnknownError says that tenants have migrations that the list does not have: a
// newer program has migrated them. Nothing was changed. See
// [WithUnknownMigrations].
type UnknownError struct {
	IDs     []string       // which, sorted
	Tenants []scope.Tenant // whose
}

// Error names the migrations, and the first of the tenants.
func (e *UnknownError) Error() string {
	return fmt.Sprintf("migrator: %s applied that this program does not know: %s; a newer one has migrated %s: deploy that, or allow it with migrator.WithUnknownMigrations",
		plural(len(e.IDs), "migration is", "migrations are"), strings.Join(e.IDs, ", "), some(e.Tenants))
}

// RunError says that not all tenants of a run are current. It unwraps to what
// was the matter with each, and to the error of the run itself.
type RunError struct {
	Run     int64
	Done    int     // tenants that are current
	Failed  int     // tenants that failed
	Pending int     // tenants whose turn never came, or that another process is at work on
	Errs    []error // of the run, then of its tenants in the order of the list
}

// Error counts the tenants, and quotes the first errors.
func (e *RunError) Error() string {
	const quoted = 5
	var b strings.Builder
	fmt.Fprintf(&b, "migrator: run %d: %d current, %d failed, %d not done", e.Run, e.Done, e.Failed, e.Pending)
	for i, err := range e.Errs {
		if i == quoted {
			fmt.Fprintf(&b, "\n… and %d more", len(e.Errs)-quoted)
			break
		}
		fmt.Fprintf(&b, "\n%v", err)
	}
	return b.String()
}

// Unwrap returns Errs.
func (e *RunError) Unwrap() []error { return e.Errs }

// err returns a *RunError unless all tenants are current and cause is nil.
func (r Report) err(cause error) error {
	e := &RunError{Run: r.Run, Done: r.Count(Current), Failed: r.Count(Failed)}
	e.Pending = len(r.Results) - e.Done - e.Failed
	if cause != nil {
		e.Errs = append(e.Errs, cause)
	}
	for _, result := range r.Results {
		if result.Err != nil {
			e.Errs = append(e.Errs, result.Err)
		}
	}
	if len(e.Errs) == 0 && e.Pending == 0 {
		return nil
	}
	return e
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// some names the first few tenants.
func some(tenants []scope.Tenant) string {
	const named = 3
	names := make([]string, 0, named)
	for _, t := range tenants[:min(named, len(tenants))] {
		names = append(names, fmt.Sprintf("%q", t))
	}
	text := strings.Join(slices.Compact(names), ", ")
	if more := len(tenants) - named; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
