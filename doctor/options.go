package doctor

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/option"
)

// Option says what [Examine] cannot see for itself.
type Option func(*config) error

type config struct {
	catalog   *catalog.Catalog // nil: none
	processes int
	budget    int // 0: not given
	prefix    string
	accepted  []string // ids
}

// WithCatalog makes Examine compare the catalog with what is on the server. The
// catalog stays the caller's, who closes it. The default is none: then there are no
// rows to compare with, and no tenant has a role of its own.
func WithCatalog(c *catalog.Catalog) Option {
	return func(cfg *config) error {
		if c == nil {
			return errors.New("doctor: WithCatalog: the catalog is nil: leave the option out")
		}
		cfg.catalog = c
		return nil
	}
}

// WithProcesses sets how many processes of the service run at a time: each has its
// own pools. The default is 1.
func WithProcesses(n int) Option {
	return func(cfg *config) error {
		if n < 1 {
			return fmt.Errorf("doctor: WithProcesses: %d is less than 1", n)
		}
		cfg.processes = n
		return nil
	}
}

// WithBudget sets how many connections one process opens at most to the tenants'
// databases that are on the server of the base pool: what plugin.WithBudget was
// given. The default with a catalog is what its tenants can use there under the
// defaults of plugin.NewPools, and without one it is 0.
func WithBudget(n int) Option {
	return func(cfg *config) error {
		if n < 1 {
			return fmt.Errorf("doctor: WithBudget: %d is less than 1", n)
		}
		cfg.budget = n
		return nil
	}
}

// WithSchemaPrefix sets how the names of tenants' schemas begin where a catalog has
// not made them. The default is "tenant_", as with plugin.BySchema.
func WithSchemaPrefix(prefix string) Option {
	return func(cfg *config) error {
		if prefix == "" {
			return errors.New("doctor: WithSchemaPrefix: the prefix is empty, and every schema would be a tenant's")
		}
		cfg.prefix = prefix
		return nil
	}
}

// WithAccepted makes findings with these [IDs] an [Info]: somebody has judged
// them, and they are still told. The default is none. An id that does not exist is an
// error.
func WithAccepted(ids ...string) Option {
	return func(cfg *config) error {
		for _, id := range ids {
			if !slices.Contains(IDs(), id) {
				return fmt.Errorf("doctor: WithAccepted: there is no finding %q: the ids are %s", id, strings.Join(IDs(), ", "))
			}
		}
		cfg.accepted = append(cfg.accepted, ids...)
		return nil
	}
}

func newConfig(opts []Option) (config, error) {
	c := config{processes: 1, prefix: "tenant_"}
	err := option.Apply("doctor", &c, opts)
	return c, err
}
