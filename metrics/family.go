package metrics

import "strings"

// kind is what a metric's values may do.
type kind int

const (
	counter kind = iota // only grows while the process runs
	sum                 // goes up and down; makes sense added up over processes
	gauge               // goes up and down; makes no sense added up
)

// seconds is the one unit that shows in Prometheus's names. Units in braces are
// notes for people, by UCUM.
const seconds = "s"

// family describes one metric, for Prometheus and OpenTelemetry alike.
type family struct {
	name   string // OpenTelemetry's
	unit   string // by UCUM; "" for what is no quantity
	kind   kind
	labels []string // Prometheus's
	help   string

	// read reports the values that s has for it. Each has its own labels.
	read func(s *snapshot, r report)
}

// report takes a value with the values of its family's labels, in their order.
type report func(value float64, labels ...string)

// prometheusName returns the name by Prometheus's conventions. The translation of
// OpenTelemetry's specification gives the same one:
// https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/
func (f family) prometheusName() string {
	name := strings.ReplaceAll(f.name, ".", "_")
	if f.unit == seconds {
		name += "_seconds"
	}
	if f.kind == counter {
		name += "_total"
	}
	return name
}

// attributeName is a label's name for OpenTelemetry, where names are everybody's.
func attributeName(label string) string { return "tenantry." + label }

// families returns the table of all metrics that c asks for.
func (c *config) families() []family {
	var all []family
	if c.plugin != nil {
		all = append(all, pluginFamilies()...)
		all = append(all, baseFamilies()...)
		all = append(all, poolFamilies(c.servers)...)
	}
	if c.plugin != nil && c.places {
		all = append(all, placeFamilies()...)
	}
	if c.catalog != nil {
		all = append(all, catalogFamilies()...)
	}
	if c.fleet != nil {
		all = append(all, fleetFamilies()...)
	}
	return all
}
