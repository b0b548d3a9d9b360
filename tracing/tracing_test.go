package tracing_test

import (
	"context"
	"fmt"
	"testing"

	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/tenantry/tenantry/scope"
	"github.com/tenantry/tenantry/tracing"
)

func ExampleNewSpanProcessor() {
	exporter := tracetest.NewInMemoryExporter() // or one that sends
	provider := trace.NewTracerProvider(
		trace.WithSpanProcessor(tracing.NewSpanProcessor()),
		trace.WithSyncer(exporter),
	)
	acme, err := scope.Parse("acme")
	if err != nil {
		fmt.Println(err)
		return
	}
	_, span := provider.Tracer("myservice").Start(scope.With(context.Background(), acme), "send reminders")
	span.End()
	for _, s := range exporter.GetSpans() {
		fmt.Println(s.Name, s.Attributes[0].Key, s.Attributes[0].Value.AsString())
	}
	// Output: send reminders tenantry.tenant acme
}

func TestWithoutATenantThereIsNoAttribute(t *testing.T) {
	t.Parallel()
	recorder := tracetest.NewSpanRecorder()
	provider := trace.NewTracerProvider(trace.WithSpanProcessor(tracing.NewSpanProcessor()), trace.WithSpanProcessor(recorder))
	for _, ctx := range []context.Context{t.Context(), scope.Shared(t.Context())} {
		_, span := provider.Tracer("test").Start(ctx, "work")
		span.End()
	}
	if err := provider.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if got := recorder.Ended(); len(got) != 2 || len(got[0].Attributes())+len(got[1].Attributes()) > 0 {
		t.Errorf("got %v", got)
	}
}
