package migrator

import (
	"context"
	"encoding/json"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/scope"
)

// claimed is a tenant that this process is to migrate.
type claimed struct {
	tenant scope.Tenant
	wave   int
	taken  bool // over from a process that is dead
}

// claim takes up to n tenants of a server, in order, that come after the given one: its
// zero value is before all. None may mean that others have them
// all, that canaries or the shared tables come first, or that the run is over. lost is
// that a connection broke on the way: what was claimed by it, if anything, is not among
// the claims.
func (l *ledger) claim(ctx context.Context, run int64, server string, after claimed, n int) (claims []claimed, lost bool, err error) {
	tries := 0
	err = l.inTurn(ctx, func(c *pgx.Conn) error {
		tries++
		rows, err := c.Query(ctx, `with free as materialized (
			select pg_catalog.pg_try_advisory_xact_lock_shared(`+fleetLock+`) as ok
		), r as (
			select stop_after from tenantry.runs where id = $1 and state = 'running'
		), next as (
			select l.tenant, l.state = 'running' as taken from tenantry.ledger l
			where l.run = $1 and l.server = $2 and (l.wave, l.tenant) > ($5, $6) and (select ok from free)
				and (l.state = 'pending' or l.state = 'running' and l.worker <> $3 and not exists (select from tenantry.workers w where w.id = l.worker and w.until > now()))
				and (l.wave = 0 or not exists (select from tenantry.ledger c where c.run = $1 and c.wave = 0 and c.state <> 'current'))
				and exists (select from r where stop_after = 0 or (select count(*) from tenantry.ledger f where f.run = $1 and f.state = 'failed') < stop_after)
			order by l.wave, l.tenant limit $4 for update of l skip locked
		), mine as (
			update tenantry.ledger l set state = 'running', worker = $3, since = now(), attempts = l.attempts + 1
			from next where l.tenant = next.tenant
			returning l.tenant, l.wave, next.taken
		)
		select tenant, wave, taken from mine order by wave, tenant`, run, server, l.worker, n, after.wave, after.tenant.String())
		if err != nil {
			return err
		}
		claims, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (t claimed, err error) {
			var id string
			if err := row.Scan(&id, &t.wave, &t.taken); err != nil {
				return t, err
			}
			t.tenant, err = scope.Parse(id)
			return t, err
		})
		return err
	})
	return claims, tries > 1, err
}

// disown leaves all tenants of a server that this process has, as far as the ledger
// knows, to whoever claims next, as if it had died.
func (l *ledger) disown(ctx context.Context, run int64, server string) error {
	return l.insist(ctx, func(c *pgx.Conn) error {
		_, err := c.Exec(ctx, "update tenantry.ledger set worker = '' where run = $1 and server = $2 and worker = $3 and state = 'running'", run, server, l.worker)
		return err
	})
}

// giveBack gives back what was claimed and not begun.
func (l *ledger) giveBack(ctx context.Context, run int64, claims []claimed) error {
	ids := make([]string, len(claims))
	for i, c := range claims {
		ids[i] = c.tenant.String()
	}
	return l.insist(ctx, func(c *pgx.Conn) error {
		_, err := c.Exec(ctx, "update tenantry.ledger set state = 'pending', worker = null, since = now(), attempts = attempts - 1 where run = $1 and worker = $2 and tenant = any($3)", run, l.worker, ids)
		return err
	})
}

// standing is how far a run is.
type standing struct {
	over    bool // the run has ended
	stopped bool // no other tenant will be begun
	pending int  // on one server; those of dead processes, too
	running int  // on one server
	done    int  // in all, failed ones included
	failed  int
	total   int
}

// stand reads how far a run is, and one of its servers.
func (l *ledger) stand(ctx context.Context, run int64, server string) (s standing, err error) {
	err = l.insist(ctx, func(c *pgx.Conn) error {
		return c.QueryRow(ctx, `with c as (
			select count(*) filter (where server = $2 and (state = 'pending' or state = 'running' and w.id is null)) as pending,
				count(*) filter (where server = $2 and state = 'running' and w.id is not null) as running,
				count(*) filter (where state in ('current', 'failed')) as done, count(*) filter (where state = 'failed') as failed,
				count(*) filter (where state = 'failed' and wave = 0) as canaries, count(*) as total
			from tenantry.ledger l left join tenantry.workers w on w.id = l.worker and w.until > now() where l.run = $1
		)
		select r.state <> 'running', c.canaries > 0 or r.stop_after > 0 and c.failed >= r.stop_after, c.pending, c.running, c.done, c.failed, c.total
		from tenantry.runs r, c where r.id = $1`, run, server).
			Scan(&s.over, &s.stopped, &s.pending, &s.running, &s.done, &s.failed, &s.total)
	})
	return s, err
}

// beat tells that this process is alive.
func (l *ledger) beat(ctx context.Context) error {
	return l.insist(ctx, func(c *pgx.Conn) error {
		_, err := c.Exec(ctx, "update tenantry.workers set until = now() + make_interval(secs => $2) where id = $1", l.worker, l.lease.Seconds())
		return err
	})
}

// outcome is what has become of a claimed tenant, as the ledger is told.
type outcome struct {
	Tenant     scope.Tenant `json:"tenant"`
	State      State        `json:"state"`
	List       string       `json:"list"` // "" if nothing new is known
	Last       string       `json:"last"`
	Applied    []string     `json:"applied"`
	RolledBack []string     `json:"rolled_back"`
	Tries      int          `json:"tries"`
	Seconds    float64      `json:"seconds"`
	Failure    *Failure     `json:"failure,omitempty"`

	ids []string // List's
}

// record writes outcomes down. Those of tenants that another process has taken over
// meanwhile are left to that one.
func (l *ledger) record(ctx context.Context, run int64, outcomes []outcome) error {
	lists := map[string][]string{}
	for _, o := range outcomes {
		if o.List != "" {
			lists[o.List] = o.ids
		}
	}
	text, err := json.Marshal(outcomes)
	if err != nil {
		return err
	}
	return l.inTurn(ctx, func(c *pgx.Conn) error {
		return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
			if err := enterLists(ctx, tx, lists); err != nil {
				return err
			}
			// The planner takes the tenants of a run for one row, as a run is younger than
			// its statistics, and would compare each with each outcome. Behind CASE it does
			// not guess; and there is no second join to guess at.
			_, err := tx.Exec(ctx, `with u as (
				update tenantry.ledger l set state = o.state, since = now(), worker = null, failure = o.failure,
					list = case when o.list = '' then l.list else o.list end,
					last = case when o.list = '' then l.last else o.last end,
					attempts = case o.state when 'current' then 0 else l.attempts + greatest(o.tries, 1) - 1 end
				from jsonb_to_recordset($1::jsonb) as o(tenant text, state text, list text, last text, applied jsonb, rolled_back jsonb, tries bigint, seconds float8, failure jsonb)
				where l.tenant = o.tenant and case when l.run = $2 then l.worker = $3 else false end
				returning l.tenant, l.incarnation, l.state, o.applied, o.rolled_back, o.seconds
			)
			insert into tenantry.results as r (run, tenant, incarnation, state, applied, rolled_back, seconds)
			select $2, tenant, incarnation, state, coalesce(applied, '[]'), coalesce(rolled_back, '[]'), seconds from u
			on conflict (run, tenant) do update set state = excluded.state, applied = r.applied || excluded.applied,
				rolled_back = r.rolled_back || excluded.rolled_back, seconds = r.seconds + excluded.seconds, finished_at = now()`,
				string(text), run, l.worker)
			return err
		})
	})
}

// leave gives back what this process has claimed and not begun, and ends the run
// if nobody else is at work on it. Tenants of which it is not known what has become
// of them stay like those of a process that died.
func (l *ledger) leave(ctx context.Context, run int64, unsure []string) error {
	return l.insist(ctx, func(c *pgx.Conn) error {
		return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
			if err := lockLedger(ctx, tx); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, "update tenantry.ledger set state = 'pending', worker = null, since = now() where run = $1 and worker = $2 and state = 'running' and not coalesce(tenant = any($3), false)", run, l.worker, unsure); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, "delete from tenantry.workers where id = $1", l.worker); err != nil {
				return err
			}
			return endRun(ctx, tx, &RunInfo{ID: run})
		})
	})
}
