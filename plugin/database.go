package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/scope"
)

// Database is a database on a server, and who logs in there. It is comparable:
// two that are equal are one place, with one pool of [Pools]. However it is
// printed, logged or encoded, it shows neither Server nor Password, but what
// String returns. Only a package that reads unexported fields by reflection, as
// fmt does, finds them in such a field of another struct.
type Database struct {
	// Server is the connection string of the server, as a URL or as keywords
	// and values. It is required: without one pgx would connect to whatever the
	// environment names.
	Server string

	Name string // of the database; "" is the one that Server names
	User string // who logs in; "" is the one that Server names

	// Password is User's. "" is the one that Server names, or none at all if User
	// is set: Server's belongs to somebody else then.
	Password string
}

var (
	_ fmt.Formatter  = Database{}
	_ slog.LogValuer = Database{}
)

// String returns host:port/database and the user.
func (d Database) String() string {
	p, _, err := d.locate()
	if err != nil {
		return fmt.Sprintf("database %q as %q on an unknown server", d.Name, d.User)
	}
	return p.String()
}

// Format writes what String returns, whatever the verb.
func (d Database) Format(f fmt.State, verb rune) {
	s := d.String()
	if verb == 'q' {
		s = strconv.Quote(s)
	}
	_, _ = io.WriteString(f, s) // fmt has no use for the error
}

// LogValue returns what String returns, for log/slog.
func (d Database) LogValue() slog.Value { return slog.StringValue(d.String()) }

// MarshalText returns what String returns, for JSON and other encodings. There is
// no way back.
func (d Database) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// Config returns the configuration of a connection to d, for connections that
// are not a tenant's. It holds the password. Errors don't.
func (d Database) Config() (*pgxpool.Config, error) {
	_, cfg, err := d.locate()
	return cfg, err
}

// locate parses d. It may read files (passwords, certificates), and pgx's
// environment variables fill in what Server leaves out.
func (d Database) locate() (place, *pgxpool.Config, error) {
	if d.Server == "" {
		return place{}, nil, errors.New("plugin: the Database has no Server: set its connection string")
	}
	cfg, err := pgxpool.ParseConfig(d.Server)
	if err == nil && strings.ContainsAny(cfg.ConnConfig.Database, "@") {
		err = errors.New("a part of the password is where the database should be")
	}
	if err != nil {
		// pgx hides the password in its errors only where it finds it, and a text
		// that it can't parse is where it may not.
		return place{}, nil, fmt.Errorf("plugin: the connection string of the server of database %q can't be parsed, and isn't shown because it may hold a password: try it with psql", d.Name)
	}
	d.override(cfg)
	if zone := timezone(cfg.ConnConfig.RuntimeParams); zone != "" {
		err = readTimestampsIn(cfg, zone)
	}
	return placeOf(cfg.ConnConfig), cfg, err
}

// override puts what d names in place of what its Server names.
func (d Database) override(cfg *pgxpool.Config) {
	c := cfg.ConnConfig
	if d.Name != "" {
		c.Database = d.Name
	}
	if d.User != "" {
		c.User, c.Password = d.User, d.Password
	}
	if d.Password != "" {
		c.Password = d.Password
	}
}

// ByDatabase returns the strategy that keeps each tenant in a database of its
// own, on any number of servers: tenant t in the schema public of where(ctx, t).
// scope.Shared is the schema public of the database that GORM was opened on.
//
// where is called for every checkout, from many goroutines at once, and must
// answer from memory in the usual case. It must give two tenants two databases.
// An error of it ends the statement. When a tenant's password changes, return the
// new one from then on.
//
// The tenants' pools are [Pools] of the strategy's own, which are closed with the
// plugin. A wrong option is reported by db.Use, and if the strategy is wrapped in
// another, by every statement.
func ByDatabase(where func(ctx context.Context, t scope.Tenant) (Database, error), opts ...PoolsOption) Strategy {
	s := &byDatabase{where: where}
	s.pools, s.err = NewPools(opts...)
	if where == nil {
		s.err = errors.Join(s.err, errors.New("plugin: ByDatabase: the function is nil"))
	}
	return s
}

type byDatabase struct {
	where func(context.Context, scope.Tenant) (Database, error)
	pools *Pools // nil if err is not
	err   error  // of the options
}

var _ io.Closer = (*byDatabase)(nil)

// inPublic is where the tables are in a database that belongs to one tenant.
const inPublic = "public"

func (s *byDatabase) check() error { return s.err }

func (s *byDatabase) Place(ctx context.Context, _ *pgxpool.Pool, t scope.Tenant) (Placement, error) {
	if s.err != nil {
		return Placement{}, s.err
	}
	d, err := s.where(ctx, t)
	if err != nil {
		return Placement{}, err
	}
	p, err := s.pools.Place(ctx, d)
	if err != nil {
		return Placement{}, err
	}
	p.Schema, p.Settings = inPublic, searchPath([]string{inPublic})
	return p, nil
}

func (s *byDatabase) PlaceShared(_ context.Context, base *pgxpool.Pool) (Placement, error) {
	if s.err != nil {
		return Placement{}, s.err
	}
	return Placement{Pool: base, Schema: inPublic, Settings: searchPath([]string{inPublic})}, nil
}

// PoolStats returns the state of the tenants' pools.
func (s *byDatabase) PoolStats() []ServerStats {
	if s.pools == nil {
		return nil
	}
	return s.pools.Stats()
}

// Format keeps fmt from the pools.
func (s *byDatabase) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "plugin.ByDatabase") }

// Close closes the tenants' pools.
func (s *byDatabase) Close() error {
	if s.pools == nil {
		return nil
	}
	return s.pools.Close()
}
