package tenanttest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// examine remembers what the migrations have left in a schema.
func examine(ctx context.Context, pool *pgxpool.Pool, name string) (*schema, error) {
	s := &schema{name: name, references: map[string][]string{}}
	err := inside(ctx, pool, func(tx pgx.Tx) error {
		if err := s.list(ctx, tx); err != nil {
			return err
		}
		return s.remember(ctx, tx)
	})
	if err != nil {
		s.unfit = err
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("tenanttest: %w", context.Cause(ctx))
	}
	return s, nil
}

// list lists what has contents.
func (s *schema) list(ctx context.Context, tx pgx.Tx) error {
	err := tx.QueryRow(ctx, "select oid from pg_catalog.pg_namespace where nspname = $1", s.name).Scan(&s.oid)
	if err != nil {
		return err
	}
	if err := s.fit(ctx, tx); err != nil {
		return err
	}
	var r relation
	rows, _ := tx.Query(ctx, `select relname, relkind::text from pg_catalog.pg_class
		where relnamespace = $1 and (relkind in ('r', 'S') or relkind = 'm' and relispopulated) order by relname`, s.oid)
	_, err = pgx.ForEachRow(rows, []any{&r.name, &r.kind}, func() error {
		if r.kind == "S" {
			s.sequences = append(s.sequences, r)
		} else {
			s.relations = append(s.relations, r)
		}
		return nil
	})
	if err != nil {
		return err
	}
	var from, to string
	rows, _ = tx.Query(ctx, `select f.relname, t.relname from pg_catalog.pg_constraint c
		join pg_catalog.pg_class f on f.oid = c.conrelid join pg_catalog.pg_class t on t.oid = c.confrelid
		where c.contype = 'f' and f.relnamespace = $1 and t.relnamespace = $1`, s.oid)
	_, err = pgx.ForEachRow(rows, []any{&from, &to}, func() error {
		s.references[to] = append(s.references[to], from)
		return nil
	})
	return err
}

// fit returns an error for what can't be made as it was, or is wrong once the schema has
// another name.
func (s *schema) fit(ctx context.Context, tx pgx.Tx) error {
	rows, _ := tx.Query(ctx, `
		select pg_catalog.format('table "%s" is a foreign one, its rows are not in the schema', relname)
			from pg_catalog.pg_class where relnamespace = $1 and relkind = 'f'
		union all select pg_catalog.format('sequence "%s" has a cache, sessions keep numbers of it', c.relname)
			from pg_catalog.pg_sequence s join pg_catalog.pg_class c on c.oid = s.seqrelid where c.relnamespace = $1 and s.seqcache > 1
		union all select pg_catalog.format('function "%s" has the schema''s name in it', proname)
			from pg_catalog.pg_proc where pronamespace = $1 and pg_catalog.strpos(pg_catalog.concat_ws(' ', prosrc, proconfig), $2) > 0`, s.oid, s.name)
	reasons, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err == nil && len(reasons) > 0 {
		err = errors.New(reasons[0])
	}
	return err
}

// remember remembers the contents. Every relation is taken for one with rows, so that the
// state of those that have some is looked at.
func (s *schema) remember(ctx context.Context, tx pgx.Tx) error {
	filled := make([]relation, len(s.relations))
	for i, r := range s.relations {
		filled[i] = relation{name: r.name, kind: r.kind, state: "?"}
	}
	states, err := s.states(ctx, tx, append(filled, s.sequences...))
	if err != nil {
		return err
	}
	for i := range s.relations {
		s.relations[i].state = states[i]
	}
	for i := range s.sequences {
		s.sequences[i].state = states[len(s.relations)+i]
	}
	s.catalog = states[len(states)-1]
	return nil
}

// states returns the states of relations, and that of the catalog behind them.
func (s *schema) states(ctx context.Context, tx pgx.Tx, of []relation) ([]string, error) {
	var sql strings.Builder
	for i, r := range of {
		fmt.Fprintf(&sql, "select %d as n, (%s) as state union all ", i, s.stateOf(r))
	}
	fmt.Fprintf(&sql, "select %d, (%s) order by n", len(of), strings.ReplaceAll(catalogState, "$oid", strconv.FormatUint(uint64(s.oid), 10)))
	rows, err := tx.Query(ctx, sql.String(), pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		var n int
		var state string
		return state, row.Scan(&n, &state)
	})
}

// stateOf returns SQL for the state of a relation. Of one that had no rows it is only asked
// whether there are any.
func (s *schema) stateOf(r relation) string {
	name := s.qualified(r.name)
	switch {
	case r.kind == "S":
		return "select last_value || ', ' || is_called from " + name
	case r.state == "":
		return "select case when exists (select from " + name + ") then 'rows' else '' end"
	default:
		return "select coalesce(pg_catalog.md5(pg_catalog.string_agg(ctid || ' ' || xmin, ',' order by ctid)), '') from " + name
	}
}

// catalogState is SQL for the state of all that PostgreSQL knows of a schema: which
// objects are there, and who has last changed the rows that describe them. The schema's
// own row is left out but for rights and owner, as it is renamed. Not looked at is what
// never changes alone: defaults and inheritance show in pg_attribute, and changes of a
// sequence in pg_class.
const catalogState = `select pg_catalog.md5(pg_catalog.string_agg(x, ',' order by x)) from (
	with c as materialized (select oid, xmin from pg_catalog.pg_class where relnamespace = $oid),
		t as materialized (select oid, xmin from pg_catalog.pg_type where typnamespace = $oid)
	select 'n ' || nspowner || ' ' || coalesce(nspacl::text, '') as x from pg_catalog.pg_namespace where oid = $oid
	union all select 'c ' || oid || ' ' || xmin from c
	union all select 't ' || oid || ' ' || xmin from t
	union all select 'a ' || a.attrelid || ' ' || a.attnum || ' ' || a.xmin from pg_catalog.pg_attribute a join c on c.oid = a.attrelid
	union all select 'i ' || i.indexrelid || ' ' || i.xmin from pg_catalog.pg_index i join c on c.oid = i.indrelid
	union all select 'g ' || g.oid || ' ' || g.xmin from pg_catalog.pg_trigger g join c on c.oid = g.tgrelid
	union all select 'r ' || r.oid || ' ' || r.xmin from pg_catalog.pg_rewrite r join c on c.oid = r.ev_class
	union all select 'p ' || p.oid || ' ' || p.xmin from pg_catalog.pg_policy p join c on c.oid = p.polrelid
	union all select 'e ' || e.oid || ' ' || e.xmin from pg_catalog.pg_enum e join t on t.oid = e.enumtypid
	union all select 'k ' || oid || ' ' || xmin from pg_catalog.pg_constraint where connamespace = $oid
	union all select 'f ' || oid || ' ' || xmin from pg_catalog.pg_proc where pronamespace = $oid
	union all select 'o ' || classid || ' ' || objid || ' ' || xmin from pg_catalog.pg_depend where refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass and refobjid = $oid
) s`
