package driver

import (
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/tenantry/tenantry/internal/fairpool"
	"github.com/tenantry/tenantry/internal/pgerr"
	"github.com/tenantry/tenantry/internal/wire"
)

// linkKey is where a prepared connection keeps its link in CustomData.
const linkKey = "tenantry.link"

// link is what this package knows of one real connection.
type link struct {
	filter *wire.Filter
	tracer pgx.QueryTracer // the user's, or nil
	pool   *facts
	names  *names
	params [len(reported)]string // as they were reported when the session was taken
	std    *stdlib.Conn          // made of it, or nil
	leased bool                  // at least once
	lease  atomic.Pointer[lease] // that has it now, or nil
	zone   zone                  // of the session

	// tenants are those that it has served; of a pool of [OpenShared] none, as that counts itself.
	tenants fairpool.Tenants[Scope]
}

// facts is what the connections of one pool have in common.
type facts struct {
	number   uint64 // no other pool of the process has it
	tuning   Tuning
	prepared *Prepared
	route    atomic.Int32 // what stands between us and the server
	bare     atomic.Bool  // the peer refuses start-up parameters that poolers do not track
}

// poolNumber is the number of the pool that was prepared last.
var poolNumber atomic.Uint64

const (
	routeUnknown int32 = iota
	routeDirect
	routePooler // a transaction pooler: the session changes from one transaction to the next
)

func (l *link) pooled() bool { return l.pool.route.Load() == routePooler }

// Tuning is what the connections of a pool may hold on to.
type Tuning struct {
	// HotStatements is how many statements each keeps by name; 0 is none.
	HotStatements int

	// TenantsPerConn is how many tenants each serves before it is closed; 0 is any
	// number, and no preference for those that have served a tenant before.
	TenantsPerConn int

	// MostShare and ContendedShare are the fractions of a shared pool's connections that one tenant may
	// hold, and while others wait; 0 is the default.
	MostShare, ContendedShare float64
}

const (
	defaultHotStatements  = 1000
	defaultTenantsPerConn = 1000
)

// DefaultTuning is that of pools of which nothing else is said.
func DefaultTuning() Tuning {
	return Tuning{HotStatements: defaultHotStatements, TenantsPerConn: defaultTenantsPerConn}
}

// PreparePool changes cfg so that this driver can use the pool opened with it.
// It keeps the hooks that are set already and sets pgx's query mode: caches
// keyed by SQL text mix up tenants, whose types and columns may differ.
//
// What it returns closes the pool, also where connections of it were never given back.
func PreparePool(cfg *pgxpool.Config, t Tuning) *Prepared {
	f := &facts{number: poolNumber.Add(1), tuning: t, prepared: &Prepared{links: map[*link]struct{}{}}}
	cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	cfg.ConnConfig.StatementCacheCapacity = 0
	cfg.ConnConfig.DescriptionCacheCapacity = 0
	theirs := cfg.BeforeConnect
	cfg.BeforeConnect = func(ctx context.Context, cc *pgx.ConnConfig) error {
		if theirs != nil {
			if err := theirs(ctx, cc); err != nil {
				return err
			}
		}
		if ctx.Value(parameterRefused{}) != nil {
			f.bare.Store(true)
		}
		f.setParameters(cc)
		f.install(cc)
		return nil
	}
	connected := cfg.AfterConnect
	cfg.AfterConnect = func(ctx context.Context, c *pgx.Conn) error {
		readTimesHere(c.TypeMap())
		if connected != nil {
			return connected(ctx, c)
		}
		return nil
	}
	closing := cfg.BeforeClose
	cfg.BeforeClose = func(c *pgx.Conn) {
		if closing != nil {
			closing(c)
		}
		if l := linkOf(conned{c}); l != nil {
			f.prepared.closed(l)
		}
	}
	return f.prepared
}

// readTimesHere makes times that travel as text have the process's time zone, as those have that
// travel in binary format. Their text has the session's.
func readTimesHere(m *pgtype.Map) {
	m.RegisterType(&pgtype.Type{Name: "timestamptz", OID: pgtype.TimestamptzOID, Codec: &pgtype.TimestamptzCodec{ScanLocation: time.Local}}) //nolint:gosmopolitan // as pgx
}

// linkOf returns what is known of a connection, or nil if it was not prepared.
func linkOf(c interface{ Conn() *pgx.Conn }) *link {
	l, _ := c.Conn().PgConn().CustomData()[linkKey].(*link)
	return l
}

// conned is a connection by itself, as linkOf takes it.
type conned struct{ c *pgx.Conn }

func (c conned) Conn() *pgx.Conn { return c.c }

// parameterRefused marks the context of a second try to connect, after the first
// was refused for one of its start-up parameters.
type parameterRefused struct{}

// RefusesParameter reports whether connecting failed for a start-up parameter of this driver.
// PgBouncer's words; the code is 08P01 for every complaint at start-up.
func RefusesParameter(err error) bool {
	if err == nil {
		return false
	}
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || pgErr.Code != pgerr.ProtocolViolation {
		return false
	}
	named := func(s Setting) bool { return strings.Contains(strings.ToLower(pgErr.Message), s.Name) }
	return named(Setting{Name: searchPath}) || slices.ContainsFunc(formats[:], named)
}

// install puts a wire filter below the frontend of each connection. cc belongs
// to one connection; with several hosts the last frontend built is the one.
func (f *facts) install(cc *pgx.ConnConfig) {
	var filter *wire.Filter
	build, after := cc.BuildFrontend, cc.AfterConnect
	cc.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		filter = wire.NewFilter(r, w)
		return build(filter, filter)
	}
	cc.AfterConnect = func(ctx context.Context, c *pgconn.PgConn) error {
		c.CustomData()[linkKey] = f.link(filter, cc.Tracer)
		if err := f.detect(ctx, c); err != nil {
			return err
		}
		if after != nil {
			return after(ctx, c)
		}
		return nil
	}
}

func (f *facts) link(filter *wire.Filter, tracer pgx.QueryTracer) *link {
	return &link{
		filter: filter, tracer: tracer, pool: f, names: newNames(f.tuning.HotStatements),
		tenants: fairpool.NewTenants[Scope](f.tuning.TenantsPerConn),
	}
}

// detect finds out, once per pool, whether a pooler stands in between: then
// the process id in BackendKeyData is the pooler's invention.
func (f *facts) detect(ctx context.Context, c *pgconn.PgConn) error {
	if f.route.Load() != routeUnknown {
		return nil
	}
	direct, err := Direct(ctx, c)
	if err != nil {
		return err
	}
	route := routePooler
	if direct {
		route = routeDirect
	}
	f.route.Store(route)
	return nil
}

// Direct reports whether c leads straight to a server process, and not through a
// transaction pooler.
func Direct(ctx context.Context, c *pgconn.PgConn) (bool, error) {
	results, err := c.Exec(ctx, "select pg_catalog.pg_backend_pid()").ReadAll()
	if err != nil {
		return false, err
	}
	return string(results[0].Rows[0][0]) == strconv.FormatUint(uint64(c.PID()), 10), nil
}
