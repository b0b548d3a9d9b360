package migrator

import (
	"time"

	"github.com/tenantry/tenantry/scope"
)

// EventKind says what an [Event] tells.
type EventKind string

// The kinds of events.
const (
	EventStarted    EventKind = "started"     // a tenant's turn has come
	EventApplied    EventKind = "applied"     // a migration is applied and committed
	EventRolledBack EventKind = "rolled back" // a migration is undone and committed
	EventRetrying   EventKind = "retrying"    // a lock could not be had; once more after a pause
	EventDone       EventKind = "done"        // a tenant is current
	EventFailed     EventKind = "failed"      // a tenant has failed
	EventWaiting    EventKind = "waiting"     // for the run Run to end, which is another one
)

// Event is one step of a run, see [WithProgress].
type Event struct {
	Kind      EventKind
	Run       int64
	Tenant    scope.Tenant  // zero of the shared tables, and of EventWaiting
	Migration string        // of EventApplied and EventRolledBack
	Duration  time.Duration // of the migration, or of the tenant
	Err       error         // of EventFailed and EventRetrying
	Done      int           // tenants of the run that are through, failed ones included, whoever did them
	Failed    int           // of these
	Total     int           // tenants of the run
}
