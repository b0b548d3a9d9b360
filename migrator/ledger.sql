do $$ begin
	if not exists (select from pg_catalog.pg_namespace where nspname = 'tenantry') then
		create schema tenantry;
	end if;
end $$;

-- What a run of a migrator was to do. Processes with the same spec share it.
create table if not exists tenantry.runs (
	id bigint generated always as identity primary key,
	spec jsonb not null,
	title text not null,
	state text not null default 'running' check (state in ('running', 'done', 'failed', 'stopped', 'interrupted')),
	stop_after bigint not null default 0,
	started_by text not null,
	started_at timestamptz not null default now(),
	finished_at timestamptz
);

-- The processes at work on a run. One that is not heard of until then is dead,
-- and others take over its tenants.
create table if not exists tenantry.workers (
	id text primary key,
	run bigint not null references tenantry.runs,
	until timestamptz not null
);

-- Every list of applied migrations that tenants have had, sorted.
create table if not exists tenantry.lists (
	fingerprint text primary key,
	ids jsonb not null
);

-- What is known of each tenant. The truth is the tenant's own tracking table. Here and
-- in results no foreign keys: each would cost a rollout a query per tenant.
create table if not exists tenantry.ledger (
	tenant text primary key,
	incarnation text not null,
	server text not null,
	list text not null,
	last text not null,
	state text not null check (state in ('pending', 'running', 'current', 'failed')),
	since timestamptz not null default now(),
	run bigint,
	wave smallint not null default 1, -- 0 are the canaries
	worker text,
	attempts bigint not null default 0,
	failure jsonb
) with (fillfactor = 50);
-- The state is not part of it, so that a run, which changes it twice, changes no index.
create index if not exists ledger_run on tenantry.ledger (run, server, wave, tenant);

-- What each run has done.
create table if not exists tenantry.results (
	run bigint not null,
	tenant text not null,
	incarnation text not null,
	state text not null,
	applied jsonb not null default '[]',
	rolled_back jsonb not null default '[]',
	seconds double precision not null default 0,
	finished_at timestamptz not null default now(),
	primary key (tenant, run)
);
-- A run's results lie together.
create index if not exists results_run on tenantry.results using brin (run) with (pages_per_range = 8);
