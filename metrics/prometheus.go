package metrics

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
)

// Collector is a [prometheus.Collector]. It is safe for concurrent use.
type Collector struct {
	config   *config
	families []described
}

var _ prometheus.Collector = (*Collector)(nil)

// described is a family as Prometheus knows it.
type described struct {
	family
	desc *prometheus.Desc
	kind prometheus.ValueType
}

// NewCollector returns a collector of the sources that the options name, at least
// one. Register it with a [prometheus.Registerer], and close it after the last
// scrape. An error is one of the options.
func NewCollector(opts ...Option) (*Collector, error) {
	c, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	collector := &Collector{config: c}
	for _, f := range c.families() {
		collector.families = append(collector.families, describe(f, c.labels))
	}
	return collector, nil
}

func describe(f family, labels []label) described {
	fixed := prometheus.Labels{}
	for _, l := range labels {
		fixed[l.name] = l.value
	}
	d := described{family: f, desc: prometheus.NewDesc(f.prometheusName(), f.help, f.labels, fixed), kind: prometheus.GaugeValue}
	if f.kind == counter {
		d.kind = prometheus.CounterValue
	}
	return d
}

// Describe sends the descriptions of all metrics to ch.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, f := range c.families {
		ch <- f.desc
	}
}

// Collect sends the metrics of this moment to ch. It waits for the migrator only,
// and not longer than [WithPatience] says. After Close it goes on with the other
// sources.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	now := c.config.look(context.Background())
	for _, f := range c.families {
		f.read(now, func(value float64, labels ...string) {
			for i := range labels {
				labels[i] = valid(labels[i])
			}
			ch <- prometheus.MustNewConstMetric(f.desc, f.kind, value, labels...)
		})
	}
}

// Close ends a question to the migrator that is under way, and waits for that; the
// count of tenants stays as it was last. Call it before what the migrator needs is
// closed. Without [WithMigrator] it does nothing. It is safe to call it more than
// once and from several goroutines. It returns nil.
func (c *Collector) Close() error {
	c.config.close()
	return nil
}
