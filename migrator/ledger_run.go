package migrator

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

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
			if err := lockLedger(ctx, tx); err != nil {
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
