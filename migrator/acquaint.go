package migrator

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/scope"
)

// acquaint returns what the ledger knows of the fleet, after it has had a look at
// the tenants that it does not know yet, or of which a process that died may have
// told it nothing. The others cost nothing: two statements for a fleet of any size.
func (m *Migrator) acquaint(ctx context.Context, l *ledger, fleet []Tenant) (book, error) {
	b, err := l.read(ctx)
	if err != nil {
		return nil, err
	}
	var strangers []Tenant
	for _, t := range fleet {
		if e := b.entryOf(t); e == nil || e.dead {
			strangers = append(strangers, t)
		}
	}
	if len(strangers) == 0 {
		return b, nil
	}
	found, err := m.read(ctx, strangers)
	if err != nil {
		return nil, err
	}
	if err := l.mend(ctx, m.corrections(strangers, b, found)); err != nil {
		return nil, err
	}
	return l.read(ctx)
}

// correction is what the ledger is told about a tenant whose tracking table was
// read.
type correction struct {
	Tenant      scope.Tenant `json:"tenant"`
	Incarnation string       `json:"incarnation"`
	Server      string       `json:"server"`
	List        string       `json:"list"`
	Last        string       `json:"last"`
	State       State        `json:"state"`
	Missing     []string     `json:"missing"` // what a dead process has applied and not told
	Extra       []string     `json:"extra"`   // what it has undone and not told
	Since       *time.Time   `json:"since"`   // of the entry that it corrects; nil if there was none

	ids []string // List's
}

// corrections compares what was found with what the ledger knows. Tenants that
// could not be read are left out.
func (m *Migrator) corrections(tenants []Tenant, b book, found *truths) []correction {
	var out []correction
	for _, t := range tenants {
		if found.errs[t.ID] != nil {
			continue
		}
		applied := found.applied[t.ID]
		c := correction{Tenant: t.ID, Incarnation: t.Incarnation, Server: t.Server, List: fingerprint(applied), Last: m.migrations.last(applied), State: Current, ids: applied}
		e := b.entryOf(t)
		if len(m.migrations.without(applied)) > 0 {
			c.State = Pending
			if e != nil && e.state == Failed {
				c.State = Failed
			}
		}
		if old := b[t.ID]; old != nil { // of an earlier incarnation, too
			c.Since = &old.since
		}
		if e != nil {
			c.Missing, c.Extra = difference(applied, e.applied), difference(e.applied, applied)
		}
		out = append(out, c)
	}
	return out
}

// difference returns what is in a and not in b.
func difference(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(id string) bool { return slices.Contains(b, id) })
}

// mend corrects the ledger. Tenants that a living process is at work on are left
// to that one.
func (l *ledger) mend(ctx context.Context, corrections []correction) error {
	lists := map[string][]string{}
	for _, c := range corrections {
		lists[c.List] = c.ids
	}
	text, err := json.Marshal(corrections)
	if err != nil || len(corrections) == 0 {
		return err
	}
	return l.insist(ctx, func(c *pgx.Conn) error {
		return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
			if err := lockLedger(ctx, tx); err != nil {
				return err
			}
			if err := enterLists(ctx, tx, lists); err != nil {
				return err
			}
			return mendRows(ctx, tx, string(text))
		})
	})
}

const correctionsSQL = `with o as (
	select * from jsonb_to_recordset($1::jsonb) as o(tenant text, incarnation text, server text, list text, last text, state text, missing jsonb, extra jsonb, since timestamptz)
) `

// mendRows leaves entries alone that have changed since they were read, and with
// them what a living process has done meanwhile: the snapshot of a statement may
// not have its worker yet, and what was found may be older. It first credits the
// run of a dead process with what it has done.
func mendRows(ctx context.Context, tx pgx.Tx, corrections string) error {
	_, err := tx.Exec(ctx, correctionsSQL+`insert into tenantry.results as r (run, tenant, incarnation, state, applied, rolled_back)
		select l.run, l.tenant, l.incarnation, o.state, coalesce(nullif(o.missing, 'null'), '[]'), coalesce(nullif(o.extra, 'null'), '[]')
		from tenantry.ledger l join o on o.tenant = l.tenant and o.incarnation = l.incarnation
		where l.state = 'running' and l.since = o.since and l.run is not null and not exists (select from tenantry.workers w where w.id = l.worker and w.until > now())
		for update of l skip locked
		on conflict (run, tenant) do update set applied = r.applied || excluded.applied, rolled_back = r.rolled_back || excluded.rolled_back, finished_at = now()`, corrections)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, correctionsSQL+`, mine as materialized (
			select l.tenant from tenantry.ledger l join o on o.tenant = l.tenant and o.since = l.since for update of l skip locked
		), known as (
			update tenantry.ledger l set incarnation = o.incarnation, server = o.server, list = o.list, last = o.last,
				state = o.state, since = now(), worker = null,
				run = case when l.incarnation = o.incarnation then l.run end,
				failure = case o.state when 'failed' then l.failure end,
				attempts = case when o.state = 'current' or l.incarnation <> o.incarnation then 0 else l.attempts end
			from o join mine using (tenant) where l.tenant = o.tenant
		)
		insert into tenantry.ledger (tenant, incarnation, server, list, last, state)
		select tenant, incarnation, server, list, last, state from o where since is null order by tenant
		on conflict do nothing`, corrections)
	return err
}

// settle writes down that tenants have nothing to do, where the ledger still says
// something else: what failed was mended by hand, or undone.
func (l *ledger) settle(ctx context.Context, o *order, b book, selected []Tenant, tasks []task) error {
	if o.Kind != applying || o.To != "" {
		return nil
	}
	busy := make(map[scope.Tenant]bool, len(tasks))
	for _, t := range tasks {
		busy[t.ID] = true
	}
	var ids []string
	for _, t := range selected {
		e := b.entryOf(t)
		if e != nil && !busy[t.ID] && (e.state == Pending || e.state == Failed && o.knows(e.failure)) {
			ids = append(ids, t.ID.String())
		}
	}
	if len(ids) == 0 {
		return nil
	}
	return l.insist(ctx, func(c *pgx.Conn) error {
		_, err := c.Exec(ctx, "update tenantry.ledger set state = 'current', since = now(), failure = null, attempts = 0 where tenant = any($1) and state in ('pending', 'failed') and not exists (select from tenantry.runs r where r.id = run and r.state = 'running')", ids)
		return err
	})
}

// knows reports whether a failure is of a migration of this program: a newer one's
// is not mended by having nothing to do.
func (o *order) knows(f *Failure) bool {
	return f == nil || f.Migration == "" || slices.Contains(o.m.migrations.ids(), f.Migration)
}

// forget takes tenants out of the ledger.
func (l *ledger) forget(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	return l.insist(ctx, func(c *pgx.Conn) error {
		_, err := c.Exec(ctx, "delete from tenantry.ledger where tenant = any($1)", ids)
		return err
	})
}
