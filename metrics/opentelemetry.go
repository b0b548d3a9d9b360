package metrics

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Register makes the instruments of the sources that the options name, at least
// one, and a callback that reads them whenever meter's provider collects. The caller
// ends it by Unregister, which also waits for a question to the migrator that is
// under way: call it before what the migrator needs is closed. Errors are those of
// the options and of meter.
func Register(meter metric.Meter, opts ...Option) (metric.Registration, error) {
	if isNil(meter) {
		return nil, errors.New("metrics: Register: the meter is nil")
	}
	c, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	var instruments []instrument
	var observables []metric.Observable
	for _, f := range c.families() {
		i, err := newInstrument(meter, f)
		if err != nil {
			return nil, fmt.Errorf("metrics: %s: %w", f.name, err)
		}
		instruments, observables = append(instruments, i), append(observables, i.observable)
	}
	r, err := meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		now := c.look(ctx)
		for _, i := range instruments {
			i.report(o, now, c.labels)
		}
		return nil
	}, observables...)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return &registration{Registration: r, config: c}, nil
}

// registration is a callback and what it asks.
type registration struct {
	metric.Registration
	config *config
}

// Unregister ends the callback, and then what it has begun.
func (r *registration) Unregister() error {
	err := r.Registration.Unregister()
	r.config.close()
	return err
}

// instrument is a family as OpenTelemetry knows it.
type instrument struct {
	family
	observable metric.Observable
	observe    observe
}

type observe func(metric.Observer, float64, metric.ObserveOption)

func (i instrument) report(o metric.Observer, now *snapshot, fixed []label) {
	i.read(now, func(value float64, labels ...string) {
		i.observe(o, value, metric.WithAttributes(i.attributes(labels, fixed)...))
	})
}

func (i instrument) attributes(labels []string, fixed []label) []attribute.KeyValue {
	all := make([]attribute.KeyValue, 0, len(labels)+len(fixed))
	for n, value := range labels {
		all = append(all, attribute.String(attributeName(i.labels[n]), valid(value)))
	}
	for _, l := range fixed {
		all = append(all, attribute.String(l.name, l.value))
	}
	return all
}

// newInstrument makes f's instrument: whole numbers for what is counted, fractions
// for seconds.
func newInstrument(meter metric.Meter, f family) (instrument, error) {
	help, unit := metric.WithDescription(f.help), metric.WithUnit(f.unit)
	fractions := f.unit == seconds
	switch {
	case f.kind == counter && fractions:
		o, err := meter.Float64ObservableCounter(f.name, help, unit)
		return instrument{f, o, float(o)}, err
	case f.kind == counter:
		o, err := meter.Int64ObservableCounter(f.name, help, unit)
		return instrument{f, o, whole(o)}, err
	case f.kind == sum:
		o, err := meter.Int64ObservableUpDownCounter(f.name, help, unit)
		return instrument{f, o, whole(o)}, err
	case fractions:
		o, err := meter.Float64ObservableGauge(f.name, help, unit)
		return instrument{f, o, float(o)}, err
	}
	o, err := meter.Int64ObservableGauge(f.name, help, unit)
	return instrument{f, o, whole(o)}, err
}

func whole(i metric.Int64Observable) observe {
	return func(o metric.Observer, v float64, with metric.ObserveOption) { o.ObserveInt64(i, int64(v), with) }
}

func float(i metric.Float64Observable) observe {
	return func(o metric.Observer, v float64, with metric.ObserveOption) { o.ObserveFloat64(i, v, with) }
}
