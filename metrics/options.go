package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/option"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
)

const (
	// defaultMaxAge is how long the count of tenants is good for: it costs two
	// statements and reads a row for each tenant.
	defaultMaxAge = 30 * time.Second
	// defaultPatience is well within the 10 seconds that Prometheus gives a scrape.
	defaultPatience = time.Second
)

// PluginSource is what is measured of a [plugin.Plugin]. It is called by each
// scrape, from several goroutines at once, and must answer from memory.
type PluginSource interface{ Stats() plugin.Stats }

// CatalogSource is what is measured of a [catalog.Catalog]. It is called by each
// scrape, from several goroutines at once, and must answer from memory.
type CatalogSource interface{ Stats() catalog.Stats }

// MigratorSource is what is measured of a [migrator.Migrator]. It is called by one
// goroutine at a time, and must return when the context ends.
type MigratorSource interface {
	Status(context.Context, migrator.Selection) ([]migrator.Status, error)
}

var (
	_ PluginSource   = (*plugin.Plugin)(nil)
	_ CatalogSource  = (*catalog.Catalog)(nil)
	_ MigratorSource = (*migrator.Migrator)(nil)
)

// Option says what [NewCollector] and [Register] measure, and how.
type Option func(*config) error

type config struct {
	plugin   PluginSource   // nil: not measured
	catalog  CatalogSource  // nil: not measured
	migrator MigratorSource // nil: not measured
	fleet    *fleet         // asks the migrator; nil without

	servers, places  bool
	maxAge, patience time.Duration
	labels           []label
	logger           *slog.Logger
}

// label is one that every metric has.
type label struct{ name, value string }

func newConfig(opts []Option) (*config, error) {
	c := &config{maxAge: defaultMaxAge, patience: defaultPatience, logger: slog.Default()}
	err := option.Apply("metrics", c, opts)
	if c.plugin == nil && c.catalog == nil && c.migrator == nil {
		err = errors.Join(err, errors.New("metrics: there is nothing to measure: pass WithPlugin, WithCatalog or WithMigrator"))
	}
	if err != nil {
		return nil, err
	}
	if c.migrator != nil {
		c.fleet = newFleet(c)
	}
	return c, nil
}

// close ends what the configuration has begun.
func (c *config) close() {
	if c.fleet != nil {
		c.fleet.close()
	}
}

// WithPlugin measures a plugin: statements, transactions, errors, refusals, the
// base pool, and the strategy's own pools if it has any. For several plugins, make
// several collectors, see [WithLabel].
func WithPlugin(p PluginSource) Option {
	return func(c *config) error {
		if isNil(p) {
			return errors.New("metrics: WithPlugin: the plugin is nil")
		}
		c.plugin = p
		return nil
	}
}

// WithCatalog measures a catalog: lookups, and whether it listens to changes.
// The pools of its strategy are measured by the plugin.
func WithCatalog(source CatalogSource) Option {
	return func(c *config) error {
		if isNil(source) {
			return errors.New("metrics: WithCatalog: the catalog is nil")
		}
		c.catalog = source
		return nil
	}
}

// WithMigrator counts the tenants by the state of their migrations. That asks the
// ledger in the master database, by [migrator.Migrator.Status], which makes the
// ledger if there is none yet and reads the tracking tables of tenants that it has
// not seen: only when somebody scrapes, at most every 30 seconds ([WithMaxAge]), and
// a scrape waits for at most a second ([WithPatience]). When there is no answer,
// tenantry_migrator_status_errors_total grows, the error is logged, the last count is
// shown on, and tenantry_migrator_status_timestamp_seconds says how old it is. The
// other metrics are shown whatever happens.
//
// The fleet is the same for every process that shows it: in queries, take the
// maximum over the processes instead of the sum, or measure it in one process only.
func WithMigrator(m MigratorSource) Option {
	return func(c *config) error {
		if isNil(m) {
			return errors.New("metrics: WithMigrator: the migrator is nil")
		}
		c.migrator = m
		return nil
	}
}

// WithServers shows the metrics of the strategy's own pools for each server instead
// of for all together, under the label server: host:port, or several with commas
// in between. It is for a handful of servers. Where each tenant may have a server
// of its own, the series grow with the number of tenants.
func WithServers() Option {
	return func(c *config) error {
		c.servers = true
		return nil
	}
}

// WithPlaces adds metrics for each place of the strategy's own pools that has a
// pool or could not be opened just now, under the labels server, database and
// user: several series for each tenant that has a database of its own.
func WithPlaces() Option {
	return func(c *config) error {
		c.places = true
		return nil
	}
}

// WithMaxAge sets how long the migrator is left in peace after its last answer,
// or its last error. The default is 30 seconds; 0 asks at every scrape.
func WithMaxAge(d time.Duration) Option {
	return func(c *config) error {
		if d < 0 {
			return fmt.Errorf("metrics: WithMaxAge: %s is less than nothing", d)
		}
		c.maxAge = d
		return nil
	}
}

// WithPatience sets how long a scrape waits for the migrator. The default is a
// second; it should be well below the scraper's own limit, which costs all metrics.
// After that, the scrape shows what was known last, and the answer, for which the
// migrator has 30 seconds, is shown by the next one.
func WithPatience(d time.Duration) Option {
	return func(c *config) error {
		if d < 0 {
			return fmt.Errorf("metrics: WithPatience: %s is less than nothing", d)
		}
		c.patience = d
		return nil
	}
}

// ownLabels are those that metrics have by themselves.
var ownLabels = [...]string{"reason", "state", "result", "server", "database", "user"}

// labelName is what Prometheus allows, without the names that it keeps to itself.
const labelName = `^[a-zA-Z][a-zA-Z0-9_]*$`

// WithLabel adds a label of one value to all metrics, such as the name of the
// database where a process has several plugins. For OpenTelemetry it is an
// attribute of that very name.
func WithLabel(name, value string) Option {
	return func(c *config) error {
		switch {
		case !regexp.MustCompile(labelName).MatchString(name):
			return fmt.Errorf("metrics: WithLabel: %q is no name of a label: letters, digits and '_', a letter first", name)
		case slices.Contains(ownLabels[:], name):
			return fmt.Errorf("metrics: WithLabel: the metrics have a label %q of their own", name)
		case slices.ContainsFunc(c.labels, func(l label) bool { return l.name == name }):
			return fmt.Errorf("metrics: WithLabel: the label %q is given twice", name)
		case !utf8.ValidString(value):
			return fmt.Errorf("metrics: WithLabel: the value of %q is not UTF-8", name)
		}
		c.labels = append(c.labels, label{name, value})
		return nil
	}
}

// WithLogger sets where the migrator's errors are told. The default is
// slog.Default().
func WithLogger(l *slog.Logger) Option {
	return func(c *config) error {
		if l == nil {
			return errors.New("metrics: WithLogger: the logger is nil")
		}
		c.logger = l
		return nil
	}
}

// isNil finds the nil pointer in an interface, too: it would only show at the first
// scrape.
func isNil(source any) bool {
	v := reflect.ValueOf(source)
	return !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil()
}

// valid makes a label's value UTF-8: one that isn't would cost the whole scrape.
func valid(value string) string { return strings.ToValidUTF8(value, "\uFFFD") }
