package migrator

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/driver"
	"github.com/tenantry/tenantry/scope"
)

// Difference is one thing in which a tenant's schema differs from the reference's.
type Difference struct {
	Tenant scope.Tenant
	Object string // such as "column invoices.total"
	Want   string // its definition in the reference; "" if it has none
	Have   string // its definition in the tenant; "" if it has none
}

// Drift compares the schemas of the selected tenants with that of the tenant
// reference, which must be in the fleet, and returns what differs, in the order of
// the list and of the objects' names. It changes nothing but the ledger, which it
// makes if it is missing.
//
// Compared are tables, columns, indexes, constraints, sequences, views, types and
// their values, triggers, rules, policies and functions: what a tenant has in its
// schema, apart from what belongs to an extension. The names of schemas, the order of
// columns, owners, rights, comments and rows are not: tenants that the same
// migrations have made do not differ, whether they have a schema or a database. One that
// has other migrations does. A missing table is a difference, and so is each of its columns.
//
// The error joins those of tenants that could not be read, each a
// *scope.TenantError; the others are compared. Without the reference, or when ctx
// ends, there are no differences.
func (m *Migrator) Drift(ctx context.Context, reference scope.Tenant, s Selection) (found []Difference, err error) {
	err = m.open(ctx, func(ctx context.Context, l *ledger) error {
		found, err = m.drift(ctx, l, reference, s)
		return err
	})
	return found, err
}

func (m *Migrator) drift(ctx context.Context, l *ledger, reference scope.Tenant, s Selection) ([]Difference, error) {
	fleet, err := m.collect(ctx, s)
	if err != nil {
		return nil, err
	}
	b, err := l.read(ctx)
	if err != nil {
		return nil, err
	}
	isReference := func(t Tenant) bool { return t.ID == reference }
	if !slices.ContainsFunc(fleet, isReference) {
		return nil, fmt.Errorf("migrator: the reference tenant %q is not in the fleet", reference)
	}
	want, err := m.definitions(ctx, reference)
	if err != nil {
		return nil, err
	}
	return m.compare(ctx, want, slices.DeleteFunc(m.choose(s, fleet, b), isReference))
}

// compare compares tenants as they are read, and keeps only what differs.
func (m *Migrator) compare(ctx context.Context, want definitions, tenants []Tenant) ([]Difference, error) {
	found, errs := make([][]Difference, len(tenants)), make([]error, len(tenants))
	var group errgroup.Group
	group.SetLimit(m.concurrency)
	for i, t := range tenants {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			have, err := m.definitions(ctx, t.ID)
			if errs[i] = err; err == nil {
				found[i] = want.differences(t.ID, have)
			}
			return nil
		})
	}
	_ = group.Wait() // errors are the tenants'
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return slices.Concat(found...), errors.Join(errs...)
}

// definitions says what is in a schema: definitions by object.
type definitions map[string]string

// differences returns what is not the same in a tenant, sorted by object.
func (d definitions) differences(t scope.Tenant, have definitions) (found []Difference) {
	for object, want := range d {
		if got, ok := have[object]; !ok || got != want {
			found = append(found, Difference{Tenant: t, Object: object, Want: want, Have: got})
		}
	}
	for object, got := range have {
		if _, ok := d[object]; !ok {
			found = append(found, Difference{Tenant: t, Object: object, Have: got})
		}
	}
	slices.SortFunc(found, func(a, b Difference) int { return strings.Compare(a.Object, b.Object) })
	return found
}

// definitions reads what is in the schema of a tenant.
func (m *Migrator) definitions(ctx context.Context, t scope.Tenant) (found definitions, err error) {
	ctx = scope.With(ctx, t)
	var schema string
	// Placed as a migration is: as the administrator, and suspended ones, too. Reading
	// a view waits for the locks on its tables.
	begin := driver.WithPreamble(m.limited(ctx), func(target *driver.Target) driver.Preamble {
		schema = target.Schema
		return driver.Preamble{}
	})
	err = m.db.WithContext(begin).Transaction(func(tx *gorm.DB) error {
		if schema == "" {
			return errors.New("migrator: the strategy names no schema for the tenant, so its tables can't be found")
		}
		found, err = readDefinitions(tx.WithContext(ctx), schema)
		return err
	}, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, describe("compare", t, err)
	}
	return found, nil
}

// driftSQL returns the objects of a schema and their definitions.
//
//go:embed drift.sql
var driftSQL string

func readDefinitions(tx *gorm.DB, schema string) (definitions, error) {
	rows, err := tx.Raw(driftSQL, schema).Rows()
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := definitions{}
	for rows.Next() {
		var object string
		var definition sql.NullString // null if it is dropped at this moment
		if err := rows.Scan(&object, &definition); err != nil {
			return nil, err
		}
		found[object] = definition.String
	}
	return found, rows.Err()
}
