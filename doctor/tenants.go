package doctor

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/scope"
)

// compareTenants compares the catalog's rows with what is on the servers. The
// catalog enters a tenant before it makes anything, and takes it out last: what a row
// was there for, before or after a server was read, is known; and only what was
// promised both times can be missing.
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
	e.unreachable(stayed, e.missing(stayed))
	e.unfinished(after)
	return e.orphans(ctx, append(after, e.tenants...))
}

func samePlace(a, b catalog.Tenant) bool {
	return a.Server == b.Server && a.Database == b.Database && a.Schema == b.Schema
}

// served reports whether all that a tenant has must be there.
func served(t catalog.Tenant) bool {
	return t.State == catalog.Active || t.State == catalog.Suspended
}

// orphans looks for what was made for tenants of whom there is no row. A tenant that
// was made and dropped in between has left nothing a second time.
func (e *exam) orphans(ctx context.Context, rows []catalog.Tenant) error {
	left := e.strays(rows)
	if len(left) == 0 {
		return nil
	}
	if err := e.readAgain(ctx); err != nil {
		return err
	}
	still := e.strays(rows)
	left = slices.DeleteFunc(left, func(s string) bool { return !slices.Contains(still, s) })
	if len(left) == 0 {
		return nil
	}
	e.find(Finding{
		ID: "orphan", Severity: Warning,
		What: fmt.Sprintf("The catalog has no row for what looks like a tenant's: %s.", some(left)),
		Why:  "No request and no migration reaches it. It may hold the data of a customer who has left, which should be gone, or of one whose row was lost.",
		How:  "Find out whose it is. Restore the row from a backup of the master database, or dump it and drop it by hand.",
	})
	return nil
}

// strays returns what has a tenant's mark, or in the base pool's database its name,
// and is none of these rows'. Two servers of the catalog may be one of PostgreSQL's,
// with the same databases and roles: whose those are, marks and names tell.
func (e *exam) strays(rows []catalog.Tenant) (left []string) {
	known := map[string]bool{}
	for _, t := range rows {
		known["database "+t.Database] = true
		known["role "+t.Role] = true
		if t.Kind == catalog.OwnSchema {
			known[t.Server+" schema "+t.Schema] = true
		}
	}
	add := func(text string, is bool) {
		if is && !known[text] {
			known[text] = true // tell it once
			left = append(left, text)
		}
	}
	e.servers(func(server string, there *objects) {
		for _, s := range there.schemas {
			own := e.marked(s.Mark) || server == catalog.Main && e.looksLikeTenant(s) && !e.isShared(s.Name)
			if own && !known[server+" schema "+s.Name] {
				left = append(left, "schema "+s.Name+onServer(server))
			}
		}
		for _, d := range there.databases {
			add("database "+d.Name, e.marked(d.Mark))
		}
		for _, r := range there.roles {
			add("role "+r.Name, e.marked(r.Mark))
		}
	})
	return left
}

// missing looks for schemas, databases and roles that a row promises, and returns the
// tenants that have lost any.
func (e *exam) missing(rows []catalog.Tenant) map[scope.Tenant]bool {
	there := map[string]bool{}
	e.servers(func(server string, o *objects) {
		there[server] = true
		there[server+" schemas"] = o.whole
		for _, s := range o.schemas {
			there[server+" schema "+s.Name] = true
		}
		for _, d := range o.databases {
			there[server+" database "+d.Name] = !d.Torn
		}
		for _, r := range o.roles {
			there[server+" role "+r.Name] = true
		}
	})
	lost := map[scope.Tenant]bool{}
	var names []string
	check := func(t catalog.Tenant, what string) {
		if !there[t.Server+" "+what] {
			lost[t.ID] = true
			names = append(names, fmt.Sprintf("%s (%s)%s", t.ID, what, onServer(t.Server)))
		}
	}
	for _, t := range rows {
		switch {
		case !there[t.Server]:
			continue
		case t.Kind == catalog.OwnDatabase:
			check(t, "database "+t.Database)
		case there[t.Server+" schemas"]:
			check(t, "schema "+t.Schema)
		}
		if t.Role != "" {
			check(t, "role "+t.Role)
		}
	}
	if len(names) > 0 {
		e.find(Finding{
			ID: "tenant-lost", Severity: Problem,
			What: fmt.Sprintf("There is not all that the catalog promises to tenants: %s.", some(names)),
			Why:  "Every request of these tenants fails, and so do their migrations.",
			How:  "Restore what is missing from a backup, with the same names. The catalog does not make it anew: an empty place would pass for the tenant's. If the data is to be gone, drop the tenant.",
		})
	}
	return lost
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
		How:  "Call Catalog.Repair, at start-up or once a minute, or run the command tenants repair --all. If that fails, its error says why.",
	})
}
