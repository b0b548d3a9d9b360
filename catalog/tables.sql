-- Names the master, and through it everything that its tenants have on any
-- server: two masters may share a server.
create table tenantry.identity (
	id text not null,
	one boolean primary key default true check (one)
);
insert into tenantry.identity (id) values (substr(md5(random()::text || clock_timestamp()::text), 1, 8));

-- What lives in a database: many tenants' schemas, or one tenant. A cluster is a
-- server as PostgreSQL knows it, by its system identifier, however it is reached.
create table tenantry.databases (
	cluster text not null,
	name text not null,
	kind text not null check (kind in ('schema', 'database')),
	primary key (cluster, name),
	unique (cluster, name, kind)
);

create table tenantry.servers (
	name text primary key check (name ~ '^[a-z][a-z0-9_-]{0,47}$'),
	conn bytea check ((conn is null) = (name = 'main')),
	cluster text not null,
	database text not null,
	kind text not null default 'schema' check (kind = 'schema'),
	capacity bigint not null default 0 check (capacity >= 0),
	"full" boolean not null default false,
	created_at timestamptz not null default now(),
	updated_at timestamptz not null default now(),
	unique (cluster, database),
	foreign key (cluster, database, kind) references tenantry.databases (cluster, name, kind) on update cascade
);

create table tenantry.tenants (
	id text primary key check (id ~ '^[a-z][a-z0-9_-]{0,47}$'),
	name text not null,
	state text not null check (state in ('provisioning', 'active', 'suspended', 'deleting', 'failed')),
	kind text not null,
	server text not null references tenantry.servers (name),
	cluster text not null,
	database text not null,
	schema text not null check (schema = lower(schema) and schema !~ '^pg_' and schema not in ('information_schema', 'tenantry', '')),
	role text,
	password bytea,
	labels jsonb not null default '{}' check (jsonb_typeof(labels) = 'object' and not jsonb_path_exists(labels, 'strict $.* ? (@.type() <> "string")', '{}', true)),
	failure text not null default '',
	activated_at timestamptz,
	created_at timestamptz not null default now(),
	updated_at timestamptz not null default now(),
	check ((kind = 'database') = (schema = 'public')),
	check (kind = 'schema' or role is not null and password is not null),
	unique (cluster, database, schema),
	unique (cluster, role),
	foreign key (cluster, database, kind) references tenantry.databases (cluster, name, kind) on update cascade
);
create index tenants_server on tenantry.tenants (server);
create index tenants_state on tenantry.tenants (state);

create table tenantry.hosts (
	name text primary key check (name = lower(name) and name <> ''),
	tenant text not null references tenantry.tenants (id) on delete cascade,
	is_primary boolean not null default false
);
create index hosts_tenant on tenantry.hosts (tenant);
create unique index hosts_primary on tenantry.hosts (tenant) where is_primary;

-- Who listens forgets what it knows of the tenant, whose id is in the column that
-- the argument names; an empty payload is all tenants.
create function tenantry.notify_tenant() returns trigger language plpgsql as $$
begin
	if tg_op <> 'INSERT' then
		perform pg_notify('tenantry', to_jsonb(old) ->> tg_argv[0]);
	end if;
	if tg_op <> 'DELETE' then
		perform pg_notify('tenantry', to_jsonb(new) ->> tg_argv[0]);
	end if;
	return null;
end $$;
create trigger notify after insert or update or delete on tenantry.tenants
	for each row execute function tenantry.notify_tenant('id');
create trigger notify after insert or update or delete on tenantry.hosts
	for each row execute function tenantry.notify_tenant('tenant');

create function tenantry.notify_all() returns trigger language plpgsql as $$
begin
	perform pg_notify('tenantry', '');
	return null;
end $$;
create trigger notify after update on tenantry.servers
	for each statement execute function tenantry.notify_all();
