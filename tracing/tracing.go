// Package tracing puts the tenant on the spans of OpenTelemetry.
//
//	provider := trace.NewTracerProvider(trace.WithSpanProcessor(tracing.NewSpanProcessor()), …)
//
// It needs no instrumentation of its own: every span that begins under a scope gets
// the tenant, whoever begins it, such as GORM's tracing plugin, otelpgx, or the
// instrumentation of a router behind the middleware.
package tracing

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/tenantry/tenantry/scope"
)

// Key is the attribute's. OpenTelemetry's conventions have none for tenants.
const Key = attribute.Key("tenantry.tenant")

// NewSpanProcessor returns a processor that sets the attribute [Key] on each span
// whose context names a tenant when the span begins. Under scope.Shared, and without a
// scope, it sets none. A span that is older than the scope, as that of a server around
// the middleware, has no tenant either. It is safe for concurrent use, keeps nothing,
// and its methods never fail.
func NewSpanProcessor() trace.SpanProcessor { return processor{} }

type processor struct{}

func (processor) OnStart(ctx context.Context, span trace.ReadWriteSpan) {
	if t, err := scope.From(ctx); err == nil {
		span.SetAttributes(Key.String(t.String()))
	}
}

func (processor) OnEnd(trace.ReadOnlySpan)         {}
func (processor) Shutdown(context.Context) error   { return nil }
func (processor) ForceFlush(context.Context) error { return nil }
