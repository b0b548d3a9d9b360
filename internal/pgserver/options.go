package pgserver

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
)

// Environment variables that Start reads. An empty one counts as not set. One
// that is set and does not work is an error; the next way is not tried.
const (
	EnvDSN = "TENANTRY_TEST_DSN" // connection string of a running server
	EnvBin = "TENANTRY_PG_BIN"   // directory of the programs initdb and postgres
)

// Option changes what Start does.
type Option func(*config) error

type config struct {
	settings []setting
	log      func(string)
}

type setting struct{ name, value string }

// defaults come first: PostgreSQL takes the last value of a setting. Nothing
// here has to survive a crash of the machine.
func defaults() []setting {
	return []setting{
		{"fsync", "off"},
		{"synchronous_commit", "off"},
		{"full_page_writes", "off"},
		{"max_connections", "100"},
	}
}

// WithSetting sets a server setting, such as max_connections (default 100) or
// max_locks_per_transaction (PostgreSQL's default). It has no effect on a server that
// TENANTRY_TEST_DSN names. Where the server listens and keeps its data cannot
// be set.
func WithSetting(name, value string) Option {
	return func(c *config) error {
		switch {
		case !settingName(name):
			return fmt.Errorf("pgserver: setting %q: not a name of a setting", name)
		case slices.Contains(ownSettings(), name):
			return fmt.Errorf("pgserver: setting %q: it belongs to pgserver", name)
		}
		c.settings = append(c.settings, setting{name, value})
		return nil
	}
}

// ownSettings are those that Start needs for itself. The log collector would
// take away the log that its errors quote.
func ownSettings() []string {
	return []string{"port", "listen_addresses", "unix_socket_directories", "data_directory", "hba_file", "logging_collector"}
}

func settingName(name string) bool {
	return regexp.MustCompile(`^[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?$`).MatchString(name)
}

// WithLog calls log with each step that may take time, such as a download. It
// is called during Start only, by one goroutine. The default is silence.
func WithLog(log func(line string)) Option {
	return func(c *config) error {
		if log == nil {
			return errors.New("pgserver: the log function is nil")
		}
		c.log = log
		return nil
	}
}

func newConfig(opts []Option) (*config, error) {
	c := &config{settings: defaults(), log: func(string) {}}
	for _, o := range opts {
		if err := o(c); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *config) logf(format string, args ...any) { c.log(fmt.Sprintf(format, args...)) }
