package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/scope"
)

// redraw is how often a bar is drawn, at most.
const redraw = 65 * time.Millisecond

// progress shows the steps of a run: a bar in a terminal, with what went wrong
// above it, and a line for each step elsewhere. It is called from one goroutine at
// a time.
type progress struct {
	out      io.Writer
	terminal bool
	bar      *progressbar.ProgressBar // nil without a terminal, and before there is something to show
	before   int                      // tenants that were through before this call
}

func newProgress(out io.Writer) *progress { return &progress{out: out, terminal: isTerminal(out)} }

// show shows one step.
func (p *progress) show(e migrator.Event) {
	if !p.terminal {
		if text := stepText(e); text != "" {
			_, _ = fmt.Fprintln(p.out, text) // without a reader there is nobody to tell
		}
		return
	}
	if worthALine(e.Kind) {
		p.above(stepText(e))
	}
	p.advance(e)
}

// worthALine reports whether a step must not pass unseen when there is a bar.
func worthALine(kind migrator.EventKind) bool {
	return kind == migrator.EventFailed || kind == migrator.EventRetrying || kind == migrator.EventWaiting
}

// above prints a line above the bar, which comes back with the next step. The
// bar's own Bprintln keeps lines back, and forgets the last ones.
func (p *progress) above(text string) {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
	_, _ = fmt.Fprintln(p.out, text)
}

// advance moves the bar. What was through before this call does not count for its
// rate.
func (p *progress) advance(e migrator.Event) {
	if p.bar == nil {
		if e.Total <= e.Done {
			return
		}
		p.before = e.Done
		p.bar = progressbar.NewOptions(e.Total-e.Done,
			progressbar.OptionSetWriter(p.out),
			progressbar.OptionSetDescription("tenants"),
			progressbar.OptionShowCount(),
			progressbar.OptionShowIts(),
			progressbar.OptionSetItsString("tenants"),
			progressbar.OptionSetPredictTime(true),
			progressbar.OptionThrottle(redraw),
			progressbar.OptionSetWidth(30),
			progressbar.OptionClearOnFinish())
	}
	_ = p.bar.Set(e.Done - p.before)
}

// end takes the bar away.
func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}

// stepText returns the line for a step, "" if it is worth none.
func stepText(e migrator.Event) string {
	var what string
	took := e.Duration
	switch e.Kind {
	case migrator.EventApplied:
		what = e.Migration
	case migrator.EventRolledBack:
		what = e.Migration + " rolled back"
	case migrator.EventDone:
		what = "done"
	case migrator.EventFailed:
		what = "failed: " + errorText(e.Tenant, e.Err)
	case migrator.EventRetrying:
		what, took = "tries again: "+errorText(e.Tenant, e.Err), 0
	case migrator.EventWaiting:
		return fmt.Sprintf("waiting for run %d, which is another one, to end", e.Run)
	default:
		return ""
	}
	text := fmt.Sprintf("%d/%d  %s  %s", e.Done, e.Total, choose(e.Tenant.IsZero(), "(shared)", e.Tenant.String()), printable(what))
	if took > 0 {
		text += "  " + span(took)
	}
	return text
}

func errorText(t scope.Tenant, err error) string {
	if err == nil {
		return ""
	}
	return reason(t, err.Error())
}

// reason is why something failed, in a line that has the tenant already.
func reason(t scope.Tenant, message string) string {
	for _, op := range []string{"migrate", "roll back", "plan"} {
		about := scope.TenantError{Op: op, Tenant: t, Err: errors.New("")}
		message = strings.TrimPrefix(message, about.Error())
	}
	return oneLine(message)
}
