package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/internal/option"
	"github.com/tenantry/tenantry/scope"
)

// maxIdentifier is the longest name in PostgreSQL, in bytes: it cuts longer
// ones, and two tenants could become one (NAMEDATALEN, manual section 4.1.1).
const maxIdentifier = 63

// SchemaOption changes what [BySchema] does.
type SchemaOption func(*bySchema) error

// WithSchemaName sets the function that names a tenant's schema. The default is
// "tenant_" and the id. The function is called for every checkout, must be safe
// for concurrent use, and must give two tenants two names. A name that is not
// lower case, has more than 63 bytes, or is PostgreSQL's own refuses the
// statement.
func WithSchemaName(name func(scope.Tenant) string) SchemaOption {
	return func(s *bySchema) error {
		if name == nil {
			return errors.New("plugin: WithSchemaName: the function is nil")
		}
		s.name = name
		return nil
	}
}

// WithSharedSchemas adds schemas behind the tenant's own in every tenant's
// search_path, in this order: for the functions and types of extensions, or for
// tables that all tenants may see. The default is none: a table that is missing
// from the tenant's schema is then an error and never a table of the same name
// elsewhere. It says nothing of scope.Shared: see [WithSharedScope].
func WithSharedSchemas(names ...string) SchemaOption {
	return func(s *bySchema) (err error) {
		s.shared, err = appendSchemas(s.shared, "WithSharedSchemas", names)
		return err
	}
}

// WithSharedScope sets the search_path of scope.Shared: where the tables are that
// belong to no tenant. New tables go into the first schema. The default is
// "public" alone.
func WithSharedScope(names ...string) SchemaOption {
	return func(s *bySchema) error {
		if len(names) == 0 {
			return errors.New("plugin: WithSharedScope: no schema is given")
		}
		var err error
		s.scope, err = appendSchemas(nil, "WithSharedScope", names)
		return err
	}
}

func appendSchemas(to []string, option string, names []string) ([]string, error) {
	for _, n := range names {
		if err := checkSchema(n); err != nil {
			return to, fmt.Errorf("plugin: %s: %w", option, err)
		}
	}
	return append(to, names...), nil
}

// BySchema returns the strategy that keeps each tenant in a schema of its own
// in the database that GORM was opened on. A wrong option is reported by db.Use,
// and if the strategy is wrapped in another, by every statement.
func BySchema(opts ...SchemaOption) Strategy {
	s := &bySchema{
		name:  func(t scope.Tenant) string { return "tenant_" + t.String() },
		scope: []string{"public"},
	}
	s.err = option.Apply("plugin", s, opts)
	return s
}

type bySchema struct {
	name   func(scope.Tenant) string
	shared []string // behind the tenant's own
	scope  []string // of scope.Shared
	err    error    // of the options
}

func (s *bySchema) check() error { return s.err }

func (s *bySchema) Place(_ context.Context, base *pgxpool.Pool, t scope.Tenant) (Placement, error) {
	if s.err != nil {
		return Placement{}, s.err
	}
	schema := s.name(t)
	if err := checkSchema(schema); err != nil {
		return Placement{}, err
	}
	if slices.Contains(s.shared, schema) || slices.Contains(s.scope, schema) {
		return Placement{}, fmt.Errorf("plugin: schema %q is shared and can't be a tenant's", schema)
	}
	return Placement{Pool: base, Schema: schema, Settings: searchPath(append([]string{schema}, s.shared...))}, nil
}

func (s *bySchema) PlaceShared(_ context.Context, base *pgxpool.Pool) (Placement, error) {
	if s.err != nil {
		return Placement{}, s.err
	}
	return Placement{Pool: base, Schema: s.scope[0], Settings: searchPath(s.scope)}, nil
}

// SearchPath returns the setting under which statements find their tables in
// the given schemas, in this order, and nowhere else: for strategies that say
// themselves in which schema a tenant lives. Names that [BySchema] refuses are an
// error.
func SearchPath(schemas ...string) ([]Setting, error) {
	for _, s := range schemas {
		if err := checkSchema(s); err != nil {
			return nil, err
		}
	}
	return searchPath(schemas), nil
}

// searchPath ends with pg_temp: where it is not listed PostgreSQL searches it
// first, and a temporary table could stand before the tenant's (manual section
// 20.11.1, search_path).
func searchPath(schemas []string) []Setting {
	var b strings.Builder
	for _, s := range schemas {
		b.WriteString(pgx.Identifier{s}.Sanitize())
		b.WriteString(", ")
	}
	b.WriteString("pg_temp")
	return []Setting{{Name: "search_path", Value: b.String()}}
}

// checkSchema refuses names that are not surely one schema of the user's.
// Poolers that track search_path compare it without case, so that "Acme" and
// "acme" would leak into each other.
func checkSchema(name string) error {
	switch {
	case name == "":
		return errors.New("plugin: the schema name is empty")
	case len(name) > maxIdentifier:
		return fmt.Errorf("plugin: schema %q has %d bytes, PostgreSQL cuts names at %d", name, len(name), maxIdentifier)
	case name != strings.ToLower(name):
		return fmt.Errorf("plugin: schema %q is not lower case", name)
	case strings.HasPrefix(name, "pg_") || name == "information_schema":
		return fmt.Errorf("plugin: schema %q is PostgreSQL's own", name)
	case strings.ContainsRune(name, 0):
		return fmt.Errorf("plugin: schema %q has a NUL byte", name)
	}
	return nil
}
