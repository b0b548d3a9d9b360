package migrator

import (
	"context"
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
