package scope

import (
	"context"
	"log/slog"
	"slices"
)

// logKey is the attribute that LogHandler adds.
const logKey = "tenant"

// LogHandler returns a handler that adds the tenant of the context to each record
// and passes it on to next, which must not be nil. The attribute is "tenant", the
// value the tenant's id, or "_shared" after [Shared]. A record whose context has no
// scope passes as it is, and so do those of slog's methods without a context: call
// InfoContext, not Info.
//
//	slog.SetDefault(slog.New(scope.LogHandler(slog.NewJSONHandler(os.Stderr, nil))))
//
// The attribute is always at the top level, also for a logger with groups
// (slog.Logger.WithGroup). Such a logger costs more: next is asked for the groups
// again for each record.
//
// Where the record, or the logger by slog.Logger.With, has a "tenant" at the top
// level, it stands alone, and nothing is added: a line that says which tenant an
// operator has suspended means that one.
//
// The handler is safe for concurrent use if next is.
func LogHandler(next slog.Handler) slog.Handler {
	return &logHandler{next: next}
}

type logHandler struct {
	next  slog.Handler // with everything that is bound
	named bool         // whether a tenant is bound at the top level

	// top is next as it was before its first group, and since what was bound to it
	// then. With these the attribute gets in before the groups.
	top   slog.Handler // nil without groups
	since []binding
}

// binding is a call of WithGroup, or of WithAttrs where group is empty.
type binding struct {
	group string
	attrs []slog.Attr
}

func (b binding) bind(h slog.Handler) slog.Handler {
	if b.group != "" {
		return h.WithGroup(b.group)
	}
	return h.WithAttrs(slices.Clone(b.attrs)) // h owns what it is given
}

// Enabled asks next.
func (h *logHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// Handle adds the tenant of ctx and returns the error of next.
func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	text, err := name(ctx)
	switch {
	case err != nil || h.named:
		return h.next.Handle(ctx, r) // no scope is no reason to lose a record
	case h.top != nil:
		return h.beforeGroups(slog.String(logKey, text)).Handle(ctx, r)
	case recordNames(r):
		return h.next.Handle(ctx, r)
	}
	r = r.Clone() // other handlers may have the record too
	r.AddAttrs(slog.String(logKey, text))
	return h.next.Handle(ctx, r)
}

func (h *logHandler) beforeGroups(a slog.Attr) slog.Handler {
	next := h.top.WithAttrs([]slog.Attr{a})
	for _, b := range h.since {
		next = b.bind(next)
	}
	return next
}

// WithAttrs binds attrs to next.
func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(attrs) == 0 {
		return h
	}
	bound := h.with(binding{attrs: attrs})
	bound.named = h.named || h.top == nil && slices.ContainsFunc(attrs, isTenant)
	return bound
}

// WithGroup binds the group to next.
func (h *logHandler) WithGroup(group string) slog.Handler {
	if group == "" {
		return h
	}
	return h.with(binding{group: group})
}

func (h *logHandler) with(b binding) *logHandler {
	bound := *h
	bound.next = b.bind(h.next)
	if bound.top == nil && b.group != "" {
		bound.top = h.next
	}
	if bound.top != nil {
		bound.since = append(slices.Clip(h.since), b)
	}
	return &bound
}

func recordNames(r slog.Record) bool {
	found := false
	r.Attrs(func(a slog.Attr) bool {
		found = isTenant(a)
		return !found
	})
	return found
}

// isTenant looks into groups without a name too, because handlers inline them.
func isTenant(a slog.Attr) bool {
	if a.Key != "" {
		return a.Key == logKey
	}
	v := a.Value.Resolve()
	return v.Kind() == slog.KindGroup && slices.ContainsFunc(v.Group(), isTenant)
}
