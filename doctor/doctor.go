package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/driver"
)

// Examine examines the service behind db, a *gorm.DB with the plugin, and returns
// its findings, those that matter most first. It uses one connection of the base
// pool, the catalog's own ones, and those of a few tenants of each server. It only
// reads, so it may run beside the service at any time, and sends as many statements
// for ten thousand tenants as for ten, but for the pages in which the catalog lists
// them. A server that does not answer holds it up for some seconds.
//
// The error joins those of what could not be measured, for want of rights for
// example; what was found besides is returned with it.
func Examine(ctx context.Context, db *gorm.DB, opts ...Option) ([]Finding, error) {
	cfg, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	connector, err := connectorOf(db)
	if err != nil {
		return nil, err
	}
	e := &exam{config: cfg, connector: connector, db: db, others: map[string]objects{}}
	e.callbacks(ctx)
	if err := e.listTenants(ctx); err != nil {
		return nil, err
	}
	err = e.onBasePool(ctx, func(c *pgx.Conn) error { return e.onBase(ctx, c) })
	// The connection is given back: the base pool may have no other.
	err = errors.Join(err, e.afterwards(ctx))
	if err != nil {
		err = fmt.Errorf("doctor: %w", err)
	}
	return e.ranked(), err
}

// connectorOf returns what the plugin has put into db.
func connectorOf(db *gorm.DB) (*driver.Connector, error) {
	if db == nil {
		return nil, errors.New("doctor: the *gorm.DB is nil")
	}
	pool, err := db.DB()
	if err != nil {
		return nil, fmt.Errorf("doctor: %w", err)
	}
	connector, ok := driver.Of(pool)
	if !ok {
		return nil, errors.New("doctor: the tenantry plugin is not registered on the *gorm.DB: call db.Use(plugin.New(…)) first")
	}
	return connector, nil
}

// exam is one examination.
type exam struct {
	config
	connector *driver.Connector
	db        *gorm.DB
	findings  []Finding

	known     []catalog.Server // the catalog's, read before anything else
	tenants   []catalog.Tenant // rows of the catalog, read next
	pooled    bool             // a pooler stands in between
	read      bool             // the readings are complete
	paths     paths
	identity  string             // of the catalog; "" if there is none, or it can't be read
	here      objects            // what is on the server of the base pool
	others    map[string]objects // and on other servers, as far as they have answered
	witnesses []sample           // who has read that
	refusals  []refusal
}

// check is one that needs a connection of the base pool.
type check struct {
	what string // it measures
	run  func(*exam, context.Context, *pgx.Conn) error
}

// readings returns the checks that read what the others judge by. Where one fails,
// the others would find what is not so.
func readings() []check {
	return []check{
		{"a pooler", (*exam).pooler},
		{"the version", (*exam).version},
		{"the tenants' search_path", (*exam).readPaths},
		{"what is on the server", (*exam).readObjects},
	}
}

// judgements returns the other checks on the base pool.
func judgements() []check {
	return []check{
		{"the base path", (*exam).basePath},
		{"the schema public", (*exam).public},
		{"the login", (*exam).login},
		{"who serves", (*exam).logins},
		{"rights on tenants' schemas", (*exam).openSchemas},
		{"rights on tenants' databases", (*exam).openDatabases},
		{"rights on the catalog", (*exam).openCatalog},
		{"shadowed tables", (*exam).shadows},
		{"triggers of other tenants", (*exam).foreignTriggers},
		{"functions in shared schemas", (*exam).sharedRoutines},
		{"large objects", (*exam).largeObjects},
		{"extensions", (*exam).tenantExtensions},
		{"connections", (*exam).connections},
		{"locks", (*exam).locks},
	}
}

func (e *exam) onBase(ctx context.Context, c *pgx.Conn) (err error) {
	for _, k := range readings() {
		if err := k.measure(e, ctx, c); err != nil {
			return err
		}
	}
	e.read = true
	for _, k := range judgements() {
		err = errors.Join(err, k.measure(e, ctx, c))
		if c.IsClosed() || ctx.Err() != nil {
			break
		}
	}
	return err
}

func (k check) measure(e *exam, ctx context.Context, c *pgx.Conn) error {
	if err := k.run(e, ctx, c); err != nil {
		return fmt.Errorf("measure %s: %w", k.what, err)
	}
	return nil
}

// afterwards makes the checks that need no connection of the base pool, or another.
func (e *exam) afterwards(ctx context.Context) error {
	if e.catalog == nil || !e.read {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	e.notifications(ctx)
	if err := e.askServers(ctx); err != nil {
		return err
	}
	e.tenantRoles()
	return e.compareTenants(ctx)
}

// onBasePool calls f with a connection of the base pool, without any tenant.
func (e *exam) onBasePool(ctx context.Context, f func(*pgx.Conn) error) error {
	base := driver.Target{Pool: e.connector.Base}
	return e.connector.Lend(ctx, &base, f)
}

// find adds a finding.
func (e *exam) find(f Finding) { e.findings = append(e.findings, f) }

// ranked returns the findings, what matters most first, and else in the order of the
// checks.
func (e *exam) ranked() []Finding {
	for i, f := range e.findings {
		if f.Severity > Info && slices.Contains(e.accepted, f.ID) {
			e.findings[i].Severity = Info
			e.findings[i].How = "It is accepted, and nothing has to be done. To mend it: " + f.How
		}
	}
	slices.SortStableFunc(e.findings, func(a, b Finding) int { return int(b.Severity) - int(a.Severity) })
	return e.findings
}
