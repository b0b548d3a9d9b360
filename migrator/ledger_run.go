package migrator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/scope"
)

// enlisted is what enlist has found to do.
type enlisted struct {
	run      int64    // 0 if nothing is to be done, or if busy is set
	busy     *RunInfo // another run, which must end first
	look     bool     // processes of the last run have died, and what they did is not known
	selected []Tenant
	tasks    []task
}

// enlist begins a run, or joins one that other processes have begun with the same
// order. One run at a time: while a living process is at work on another, it only
// says so. looked is that what dead processes have done was found out, as far as it
// can be.
func (l *ledger) enlist(ctx context.Context, o *order, fleet []Tenant, looked bool) (e enlisted, err error) {
	err = l.do(ctx, func(c *pgx.Conn) error {
		return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "select pg_catalog.pg_advisory_xact_lock("+ledgerLock+")"); err != nil {
				return err
			}
			b, err := readBook(ctx, tx)
			if err != nil {
				return err
			}
			e = enlisted{}
			return l.choose(ctx, tx, o, fleet, b, looked, &e)
		})
	})
	return e, err
}

// choose begins a run for what is to be done, or joins one. A selection that moves
// would select others now: there, who joins takes the tenants that the run has. The
// caller holds the lock.
func (l *ledger) choose(ctx context.Context, tx pgx.Tx, o *order, fleet []Tenant, b book, looked bool, e *enlisted) error {
	spec, err := o.spec()
	if err != nil {
		return err
	}
	active, same, alive, err := activeRun(ctx, tx, spec)
	if err != nil {
		return err
	}
	join := active != nil && same && alive
	if busy := active != nil && alive && !same; busy {
		e.busy = active
		return nil
	}
	if o.Kind == undoRun { // only now that run has ended
		if o.did, err = did(ctx, tx, o.Of, fleet); err != nil {
			return err
		}
	}
	if join && o.Only.moves() {
		e.selected, e.tasks = b.of(active.ID, fleet)
	} else if e.selected, e.tasks, err = o.tasks(fleet, b); err != nil || len(e.tasks) == 0 {
		return err
	}
	switch {
	case join:
		e.run = active.ID
	case active != nil && !looked && b.unclear(active.ID, fleet):
		e.look = true
		return nil
	default:
		if err := endRun(ctx, tx, active); err != nil {
			return err
		}
		err := tx.QueryRow(ctx, "insert into tenantry.runs (spec, title, stop_after, started_by) values ($1::jsonb, $2, $3, $4) returning id",
			spec, o.title(), o.StopAfter, startedBy()).Scan(&e.run)
		if err != nil {
			return err
		}
	}
	if err := enter(ctx, tx, e); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "insert into tenantry.workers (id, run, until) values ($1, $2, now() + make_interval(secs => $3))", l.worker, e.run, l.lease.Seconds())
	return err
}

// unclear reports whether processes have died while they were at work on tenants of
// a run.
func (b book) unclear(run int64, fleet []Tenant) bool {
	return slices.ContainsFunc(fleet, func(t Tenant) bool {
		e := b.entryOf(t)
		return e != nil && e.run == run && e.dead
	})
}

// of returns the tenants of a run.
func (b book) of(run int64, fleet []Tenant) (tenants []Tenant, tasks []task) {
	for _, t := range fleet {
		if e := b.entryOf(t); e != nil && e.run == run {
			tenants = append(tenants, t)
			tasks = append(tasks, task{Tenant: t, entry: e})
		}
	}
	return tenants, tasks
}

// activeRun returns the run that has not ended, whether it has the given spec, and
// whether a process at work on it is alive.
func activeRun(ctx context.Context, tx pgx.Tx, spec string) (r *RunInfo, same, alive bool, err error) {
	r = &RunInfo{State: RunRunning}
	err = tx.QueryRow(ctx, `select id, title, started_by, started_at, spec = $1::jsonb,
		exists (select from tenantry.workers w where w.run = r.id and w.until > now())
		from tenantry.runs r where state = 'running' order by id desc limit 1`, spec).
		Scan(&r.ID, &r.Title, &r.By, &r.Started, &same, &alive)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, false, false, nil
	}
	return r, same, alive, err
}

// endRun writes down how a run has ended whose processes are gone, or that has
// nothing left to do. Nil is none.
func endRun(ctx context.Context, tx pgx.Tx, r *RunInfo) error {
	if r == nil {
		return nil
	}
	if _, err := tx.Exec(ctx, "delete from tenantry.workers where run = $1 and until <= now()", r.ID); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `with c as (
		select count(*) filter (where state = 'failed') as failed, count(*) filter (where state = 'failed' and wave = 0) as canaries,
			count(*) filter (where state in ('pending', 'running')) as rest
		from tenantry.ledger where run = $1
	)
	update tenantry.runs r set finished_at = now(), state = case
		when c.rest = 0 and c.failed = 0 then 'done'
		when c.rest = 0 then 'failed'
		when c.canaries > 0 or r.stop_after > 0 and c.failed >= r.stop_after then 'stopped'
		else 'interrupted' end
	from c where r.id = $1 and r.state = 'running' and (c.rest = 0 or not exists (select from tenantry.workers w where w.run = r.id and w.until > now()))`, r.ID)
	return err
}

// enter makes the tasks the run's. What the run has already, another process has
// entered.
func enter(ctx context.Context, tx pgx.Tx, e *enlisted) error {
	type row struct {
		Tenant      scope.Tenant `json:"tenant"`
		Incarnation string       `json:"incarnation"`
		Server      string       `json:"server"`
		Wave        int          `json:"wave"`
	}
	rows := make([]row, 0, len(e.tasks))
	for _, t := range e.tasks {
		if t.entry.run == e.run {
			continue
		}
		r := row{Tenant: t.ID, Incarnation: t.Incarnation, Server: t.Server, Wave: 1}
		if t.canary {
			r.Wave = 0
		}
		rows = append(rows, r)
	}
	text, err := json.Marshal(rows)
	if err != nil {
		return err
	}
	if err := enterLists(ctx, tx, nil); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `insert into tenantry.ledger as l (tenant, incarnation, server, list, last, state, run, wave)
		select t.tenant, t.incarnation, t.server, $2, '', 'pending', $3, t.wave
		from jsonb_to_recordset($1::jsonb) as t(tenant text, incarnation text, server text, wave smallint)
		on conflict (tenant) do update set
			list = case when l.incarnation = excluded.incarnation then l.list else excluded.list end,
			last = case when l.incarnation = excluded.incarnation then l.last else excluded.last end,
			incarnation = excluded.incarnation, server = excluded.server,
			state = 'pending', run = excluded.run, wave = excluded.wave, worker = null, since = now(), failure = null`,
		string(text), fingerprint(nil), e.run)
	return err
}

// enterLists makes sure that the ledger has the lists of applied migrations, and
// the empty one.
func enterLists(ctx context.Context, tx pgx.Tx, lists map[string][]string) error {
	text, err := json.Marshal(withEmpty(lists))
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `insert into tenantry.lists (fingerprint, ids) select key, value from jsonb_each($1::jsonb) on conflict do nothing`, string(text))
	return err
}

func withEmpty(lists map[string][]string) map[string][]string {
	all := map[string][]string{fingerprint(nil): {}}
	for name, ids := range lists {
		if len(ids) > 0 {
			all[name] = ids
		}
	}
	return all
}

// claimed is a tenant that this process is to migrate.
type claimed struct {
	tenant scope.Tenant
	list   string // what it had applied, as far as known
	taken  bool   // over from a process that is dead
}

// claim takes up to n tenants of a server. None may mean that others have them
// all, that canaries or the shared tables come first, or that the run is over.
func (l *ledger) claim(ctx context.Context, run int64, server string, n int) (claims []claimed, err error) {
	err = l.do(ctx, func(c *pgx.Conn) error {
		rows, err := c.Query(ctx, `with free as materialized (
			select pg_catalog.pg_try_advisory_xact_lock_shared(`+fleetLock+`) as ok
		), r as (
			select stop_after from tenantry.runs where id = $1 and state = 'running'
		), next as (
			select l.tenant, l.list, l.state = 'running' as taken from tenantry.ledger l
			where l.run = $1 and l.server = $2 and (select ok from free)
				and (l.state = 'pending' or l.state = 'running' and l.worker <> $3 and not exists (select from tenantry.workers w where w.id = l.worker and w.until > now()))
				and (l.wave = 0 or not exists (select from tenantry.ledger c where c.run = $1 and c.wave = 0 and c.state <> 'current'))
				and exists (select from r where stop_after = 0 or (select count(*) from tenantry.ledger f where f.run = $1 and f.state = 'failed') < stop_after)
			order by l.wave, l.tenant limit $4 for update of l skip locked
		)
		update tenantry.ledger l set state = 'running', worker = $3, since = now(), attempts = l.attempts + 1
		from next where l.tenant = next.tenant
		returning l.tenant, next.list, next.taken`, run, server, l.worker, n)
		if err != nil {
			return err
		}
		claims, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (t claimed, err error) {
			var id string
			if err := row.Scan(&id, &t.list, &t.taken); err != nil {
				return t, err
			}
			t.tenant, err = scope.Parse(id)
			return t, err
		})
		return err
	})
	return claims, err
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
	return l.insist(ctx, func(c *pgx.Conn) error {
		return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
			if err := enterLists(ctx, tx, lists); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, `with o as (
				select * from jsonb_to_recordset($1::jsonb) as o(tenant text, state text, list text, last text, applied jsonb, rolled_back jsonb, tries bigint, seconds float8, failure jsonb)
			), u as (
				update tenantry.ledger l set state = o.state, since = now(), worker = null, failure = o.failure,
					list = case when o.list = '' then l.list else o.list end,
					last = case when o.list = '' then l.last else o.last end,
					attempts = case o.state when 'current' then 0 else l.attempts + greatest(o.tries, 1) - 1 end
				from o where l.tenant = o.tenant and l.run = $2 and l.worker = $3
				returning l.tenant, l.incarnation
			)
			insert into tenantry.results as r (run, tenant, incarnation, state, applied, rolled_back, seconds)
			select $2, o.tenant, u.incarnation, o.state, coalesce(o.applied, '[]'), coalesce(o.rolled_back, '[]'), o.seconds
			from o join u using (tenant)
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
			if _, err := tx.Exec(ctx, "select pg_catalog.pg_advisory_xact_lock("+ledgerLock+")"); err != nil {
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

// final is how a tenant of a run has ended.
type final struct {
	state   State
	failure *Failure
}

// finals reads how the tenants of a run have ended, whoever did them.
func (l *ledger) finals(ctx context.Context, run int64) (map[scope.Tenant]final, error) {
	ends := map[scope.Tenant]final{}
	err := l.insist(ctx, func(c *pgx.Conn) error {
		rows, err := c.Query(ctx, "select tenant, state, failure from tenantry.ledger where run = $1", run)
		if err != nil {
			return err
		}
		var id string
		var f final
		_, err = pgx.ForEachRow(rows, []any{&id, &f.state, &f.failure}, func() error {
			t, err := scope.Parse(id)
			ends[t] = f
			f.failure = nil
			return err
		})
		return err
	})
	return ends, err
}

// runs reads the last n runs.
func (l *ledger) runs(ctx context.Context, n int) (list []RunInfo, err error) {
	err = l.insist(ctx, func(c *pgx.Conn) error {
		// The last process of a run may have died before it could write down its end.
		rows, err := c.Query(ctx, `select r.id, r.title, case when r.state <> 'running' then r.state when c.rest = 0 and c.failed > 0 then 'failed' when c.rest = 0 then 'done'
				when exists (select from tenantry.workers w where w.run = r.id and w.until > now()) then 'running' else 'interrupted' end,
			r.started_by, r.started_at, r.finished_at, c.done, c.failed, c.rest
			from tenantry.runs r, lateral (select
				(select count(*) from tenantry.results x where x.run = r.id and x.state = 'current') as done,
				(select count(*) from tenantry.results x where x.run = r.id and x.state = 'failed') as failed,
				(select count(*) from tenantry.ledger x where x.run = r.id and x.state in ('pending', 'running')) as rest) c
			order by r.id desc limit $1`, n)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (r RunInfo, err error) {
			var finished *time.Time
			var rest int
			err = row.Scan(&r.ID, &r.Title, &r.State, &r.By, &r.Started, &finished, &r.Done, &r.Failed, &rest)
			if finished != nil {
				r.Finished = *finished
			}
			r.Tenants = r.Done + r.Failed + rest
			return r, err
		})
		return err
	})
	return list, err
}

// did reads what a run has applied to the tenants of the fleet: not to those that had
// their ids before them, nor what a later run has applied once more.
func did(ctx context.Context, q querier, run int64, fleet []Tenant) (map[scope.Tenant][]string, error) {
	members := make(map[string]Tenant, len(fleet))
	for _, t := range fleet {
		members[t.ID.String()] = t
	}
	rows, err := q.Query(ctx, `select r.tenant, r.incarnation, id from tenantry.results r, jsonb_array_elements_text(r.applied) id
		where r.run = $1 and not exists (select from tenantry.results later where later.tenant = r.tenant and later.run > r.run and later.applied ? id)`, run)
	if err != nil {
		return nil, err
	}
	applied := map[scope.Tenant][]string{}
	var name, incarnation, id string
	_, err = pgx.ForEachRow(rows, []any{&name, &incarnation, &id}, func() error {
		if t, ok := members[name]; ok && t.Incarnation == incarnation {
			applied[t.ID] = append(applied[t.ID], id)
		}
		return nil
	})
	if err == nil && len(applied) == 0 {
		err = fmt.Errorf("there is no run %d that has applied anything to a tenant of the fleet and was not rolled back or repeated since", run)
	}
	return applied, err
}
