package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/internal/driver"
)

// errNoSpare says that there is nothing to take in the master database's server.
var errNoSpare = errors.New("no spare")

// createAtOnce gives the tenant a spare on the master's own server, in one transaction
// and two round trips: the server is chosen and the spare taken, its marks become the
// tenant's, and the tenant is entered, active. It reports false if that can't be, and
// nothing was changed: everything has to be made then.
func (c *Catalog) createAtOnce(ctx context.Context, n New, row *tenantRow) (done bool, err error) {
	draft := *row
	err = c.atWork(ctx, func(ctx context.Context) error {
		err := c.takeAtOnce(ctx, n, &draft)
		if err != nil && draft.State == Active && c.saved(ctx, &draft) {
			return nil // only the answer was lost
		}
		if ended := context.Cause(ctx); err != nil && ended != nil {
			err = errors.Join(ended, err)
		}
		return c.orFailed(ctx, row, describeViolation(err, "create", row.ID))
	})
	var input *InputError
	switch {
	case err == nil:
		*row = draft
		c.cache.forget(row.id())
		c.step(row, "active")
		c.stir()
	case ctx.Err() != nil, c.ctx.Err() != nil, errors.As(err, &input):
	case errors.Is(err, errNoSpare):
		return false, nil
	default:
		c.warnOfSpare(row, err)
		return false, c.discard(ctx, draft.taken)
	}
	return true, err
}

// discard sees to it that a spare is dropped, which did not do.
func (c *Catalog) discard(ctx context.Context, spare string) error {
	err := c.moveSpare(ctx, &tenantRow{ID: spare}, spareReady, spareDropping)
	if errors.Is(err, errSpareGone) {
		return nil
	}
	return err
}

// saved reports whether the row is in the master database, in its place, which no
// other tenant ever has.
func (c *Catalog) saved(ctx context.Context, row *tenantRow) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
	defer cancel()
	last, err := c.row(ctx, row.id())
	return err == nil && last.State == Active && last.samePlace(row)
}

// takeAtOnce is the transaction. The pool destroys a connection that is given back in
// the middle of one.
func (c *Catalog) takeAtOnce(ctx context.Context, n New, row *tenantRow) error {
	conn, err := c.master.Acquire(ctx)
	if err != nil {
		return driver.Redact(err)
	}
	defer conn.Release()
	f, err := c.beginAtOnce(ctx, conn, row)
	if err == nil {
		err = c.chooseAtOnce(ctx, n, row, f)
	}
	if err == nil {
		c.step(row, "spare chosen")
		err = c.enterAtOnce(ctx, conn, row)
	}
	if err != nil {
		_, _ = conn.Exec(ctx, "rollback")
	}
	return err
}

// found is what the first round trip reads.
type found struct {
	servers  []Server
	main     serverRow // the master's own
	spare    *spareRow // on it
	mark     *string   // of its schema or database
	roleMark *string   // of its role
}

// beginAtOnce takes the tenant's lock, which ends with the transaction, locks the
// servers against other sign-ups, and with them the spare.
func (c *Catalog) beginAtOnce(ctx context.Context, conn *pgxpool.Conn, row *tenantRow) (f found, err error) {
	var b pgx.Batch
	b.Queue("begin")
	free := false
	b.Queue("select pg_catalog.pg_try_advisory_xact_lock($1)", lockKey(row.id())).QueryRow(func(r pgx.Row) error { return r.Scan(&free) })
	b.Queue("select from tenantry.servers order by name for no key update")
	b.Queue(`select name, cluster, database, capacity, "full", created_at, (select count(*) from tenantry.tenants t where t.server = s.name)
		from tenantry.servers s order by name`).Query(f.scanServers)
	b.Queue(`select name, cluster, database, schema, role, password,
			case kind when 'schema' then (select pg_catalog.obj_description(oid, 'pg_namespace') from pg_catalog.pg_namespace where nspname = s.name)
			else (select pg_catalog.shobj_description(oid, 'pg_database') from pg_catalog.pg_database where datname = s.name and datconnlimit <> -2) end,
			(select pg_catalog.shobj_description(oid, 'pg_authid') from pg_catalog.pg_roles where rolname = s.role)
		from tenantry.spares s where server = 'main' and kind = $1 and state = 'ready' and fingerprint = $2
		order by created_at limit 1 for update skip locked`, row.Kind, c.spareFingerprint(&serverRow{Name: Main})).Query(f.scanSpare)
	err = conn.SendBatch(ctx, &b).Close()
	if err == nil && !free {
		err = taken(row) // by another call, which is at work
	}
	return f, err
}

func (f *found) scanServers(rows pgx.Rows) error {
	for rows.Next() {
		var s Server
		var cluster string
		if err := rows.Scan(&s.Name, &cluster, &s.Database, &s.Capacity, &s.Full, &s.CreatedAt, &s.Tenants); err != nil {
			return err
		}
		f.servers = append(f.servers, s)
		if s.Name == Main {
			f.main = serverRow{Name: Main, Cluster: cluster, Database: s.Database, Capacity: int64(s.Capacity), Full: s.Full, CreatedAt: s.CreatedAt}
		}
	}
	return rows.Err()
}

func (f *found) scanSpare(rows pgx.Rows) error {
	for rows.Next() {
		f.spare = &spareRow{ServerName: Main}
		s := f.spare
		if err := rows.Scan(&s.Name, &s.Cluster, &s.Database, &s.Schema, &s.Role, &s.Password, &f.mark, &f.roleMark); err != nil {
			return err
		}
	}
	return rows.Err()
}

// chooseAtOnce gives the row the place of the spare if the master's own server is chosen.
func (c *Catalog) chooseAtOnce(ctx context.Context, n New, row *tenantRow, f found) error {
	name, err := c.chooseServer(ctx, n, nil, f.servers)
	if err != nil || name != Main || f.spare == nil {
		return errNoSpare
	}
	row.taken = f.spare.Name
	f.spare.Kind, f.spare.Server = row.Kind, f.main
	mark := c.spareMark(f.spare.Name)
	if !isMark(f.mark, mark) || f.spare.Role != nil && !isMark(f.roleMark, mark) {
		return fmt.Errorf("%w: something of spare %q is gone, or has another mark than '%s'", ErrForeign, f.spare.Name, mark)
	}
	return c.takeOver(ctx, row, f.spare)
}

func isMark(mark *string, want string) bool { return mark != nil && *mark == want }

// enterAtOnce ends the transaction with the tenant in it.
func (c *Catalog) enterAtOnce(ctx context.Context, conn *pgxpool.Conn, row *tenantRow) error {
	labels, err := json.Marshal(row.Labels)
	if err != nil {
		return err
	}
	at := now()
	row.State, row.CreatedAt, row.UpdatedAt, row.ActivatedAt = Active, at, at, &at
	var b pgx.Batch
	for _, o := range row.objects() {
		b.Queue(o.marking(c.mark(row)))
	}
	b.Queue("delete from tenantry.spares where name = $1", row.taken)
	b.Queue(`insert into tenantry.tenants (id, name, state, kind, server, cluster, database, schema, role, password, labels, activated_at, created_at, updated_at)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::jsonb, $12, $12, $12)`,
		row.ID, row.Name, row.State, row.Kind, row.ServerName, row.Cluster, row.Database, row.Schema, row.Role, row.Password, string(labels), at)
	for _, h := range row.Hosts {
		b.Queue("insert into tenantry.hosts (name, tenant, is_primary) values ($1, $2, $3)", h.Name, h.Tenant, h.IsPrimary)
	}
	b.Queue("commit")
	return conn.SendBatch(ctx, &b).Close()
}
