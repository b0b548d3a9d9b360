package doctor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/scope"
)

// compareTenants compares the catalog's rows with what is on the server of the base
// pool. The catalog enters a tenant before it makes anything, and takes it out last:
// what a row was there for, before or after the server was read, is known; and only
// what was promised both times can be missing.
func (e *exam) compareTenants(ctx context.Context) error {
	after, err := allTenants(ctx, e.catalog)
	if err != nil {
		return err
	}
	rows := map[string]catalog.Tenant{}
	for _, t := range after {
		rows[t.ID.String()] = t
	}
	var stayed []catalog.Tenant
	for _, t := range e.tenants {
		if now := rows[t.ID.String()]; samePlace(t, now) && served(t) && served(now) {
			stayed = append(stayed, t)
		}
	}
	e.orphans(append(after, e.tenants...))
	e.missing(stayed)
	e.unfinished(after)
	return nil
}

func samePlace(a, b catalog.Tenant) bool {
	return a.Server == b.Server && a.Database == b.Database && a.Schema == b.Schema
}

// served reports whether all that a tenant has must be there.
func served(t catalog.Tenant) bool {
	return t.State == catalog.Active || t.State == catalog.Suspended
}

// orphans looks for what was made for tenants of whom there is no row.
func (e *exam) orphans(rows []catalog.Tenant) {
	known := map[string]bool{}
	for _, t := range rows {
		known["database "+t.Database] = true
		known["role "+t.Role] = true
		if e.inBase(t) {
			known["here "+t.Schema] = true
		}
	}
	var left []string
	add := func(key, text string, is bool) {
		if is && !known[key] {
			left = append(left, text)
		}
	}
	for _, s := range e.here.schemas {
		add("here "+s.Name, "schema "+s.Name, e.looksLikeTenant(s) && !e.isShared(s.Name))
	}
	for _, d := range e.here.databases {
		add("database "+d.Name, "database "+d.Name, e.here.marked(d.Mark))
	}
	for _, r := range e.here.roles {
		add("role "+r.Name, "role "+r.Name, e.here.marked(r.Mark))
	}
	if len(left) == 0 {
		return
	}
	e.find(Finding{
		ID: "orphan", Severity: Warning,
		What: fmt.Sprintf("The catalog has no row for what looks like a tenant's: %s.", some(left)),
		Why:  "No request and no migration reaches it. It may hold the data of a customer who has left, which should be gone, or of one whose row was lost.",
		How:  "Find out whose it is. Restore the row from a backup of the master database, or dump it and drop it by hand.",
	})
}

// missing looks for schemas, databases and roles that a row promises.
func (e *exam) missing(rows []catalog.Tenant) {
	there := map[string]bool{}
	for _, s := range e.here.schemas {
		there["schema "+s.Name] = true
	}
	for _, d := range e.here.databases {
		there["database "+d.Name] = !d.Torn
	}
	for _, r := range e.here.roles {
		there["role "+r.Name] = true
	}
	var lost []string
	for _, t := range rows {
		if t.Server != catalog.Main {
			continue
		}
		place := "schema " + t.Schema
		if t.Kind == catalog.OwnDatabase {
			place = "database " + t.Database
		}
		if !there[place] {
			lost = append(lost, t.ID.String()+" ("+place+")")
		}
		if t.Role != "" && !there["role "+t.Role] {
			lost = append(lost, t.ID.String()+" (role "+t.Role+")")
		}
	}
	if len(lost) > 0 {
		e.find(lostFinding("tenant-lost", "The server lacks what the catalog says of tenants: "+some(lost)+"."))
	}
}

func lostFinding(id, what string) Finding {
	return Finding{
		ID: id, Severity: Problem, What: what,
		Why: "Every request of these tenants fails, and so do their migrations.",
		How: "Restore what is missing from a backup, with the same names. The catalog does not make it anew: an empty place would pass for the tenant's. If the data is to be gone, drop the tenant.",
	}
}

// patience is how long a sign-up or a drop may take before it looks cut off.
const patience = 10 * time.Minute

// unfinished looks for tenants that catalog.Repair has work with.
func (e *exam) unfinished(rows []catalog.Tenant) {
	var stuck []string
	for _, t := range rows {
		busy := (t.State == catalog.Provisioning || t.State == catalog.Deleting) && time.Since(t.UpdatedAt) < patience
		if !served(t) && !busy {
			stuck = append(stuck, fmt.Sprintf("%s (%s)", t.ID, t.State))
		}
	}
	if len(stuck) == 0 {
		return
	}
	e.find(Finding{
		ID: "tenant-unfinished", Severity: Warning,
		What: fmt.Sprintf("The making or dropping of %s was cut off: %s.", count(len(stuck), "tenant"), some(stuck)),
		Why:  "They are not served, and keep their names, their hosts and what was made of them.",
		How:  "Run catalog.Repair, at start-up or once a minute, or the command tenants repair. If it fails, its error says why.",
	})
}

// reachOthers sends each tenant that is served from another server a statement, as
// the application would: nobody has read what is there.
func (e *exam) reachOthers(ctx context.Context) error {
	var lost []string
	var last error
	for _, t := range e.tenants {
		if t.State != catalog.Active || t.Server == catalog.Main {
			continue
		}
		err := e.db.WithContext(scope.With(ctx, t.ID)).Exec("select 1").Error
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil || errors.Is(err, catalog.ErrUnknown) || errors.Is(err, catalog.ErrSuspended) {
			continue // in order, or no longer served
		}
		lost, last = append(lost, t.ID.String()+" (server "+t.Server+")"), err
	}
	if len(lost) > 0 {
		e.find(lostFinding("tenant-unreachable", fmt.Sprintf("%s on other servers can't be reached: %s. The last error: %v", count(len(lost), "tenant"), some(lost), last)))
	}
	return nil
}
