package migrator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/scope"
)

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

// resultsOf reads what a run has done for each of its tenants. Those that it has not
// done are the ledger's as long as no later run has them.
func (l *ledger) resultsOf(ctx context.Context, run int64) (list []Result, err error) {
	o := order{}
	err = l.insist(ctx, func(c *pgx.Conn) error {
		err := c.QueryRow(ctx, "select spec ->> 'kind' from tenantry.runs where id = $1", run).Scan(&o.Kind)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		rows, err := c.Query(ctx, `select tenant,
				case when x.state in ('current', 'failed') then x.state
					when l.state = 'running' and exists (select from tenantry.workers w where w.id = l.worker and w.until > now()) then 'running' else 'pending' end,
				coalesce(x.applied, '[]'), coalesce(x.rolled_back, '[]'), coalesce(x.seconds, 0), case when x.state = 'failed' then l.failure end
			from (select * from tenantry.results where run = $1) x full join (select * from tenantry.ledger where run = $1) l using (tenant)
			where x.tenant is not null or l.state in ('pending', 'running')
			order by tenant collate "C"`, run)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, o.result)
		return err
	})
	if err == nil && o.Kind == "" {
		err = fmt.Errorf("migrator: there is no run %d", run)
	}
	return list, err
}

// result reads one tenant of a run.
func (o *order) result(row pgx.CollectableRow) (r Result, err error) {
	var id string
	var seconds float64
	var failure *Failure
	if err := row.Scan(&id, &r.State, &r.Applied, &r.RolledBack, &seconds, &failure); err != nil {
		return r, err
	}
	r.Duration = time.Duration(seconds * float64(time.Second))
	r.Tenant, err = scope.Parse(id)
	if failure != nil {
		r.Err = describe(o.verb(), r.Tenant, failure)
	}
	return r, err
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
