-- Places that are made in advance, for tenants to come. A sign-up takes the row out in
-- the transaction that enters the tenant, with the same place.
create table tenantry.spares (
	name text primary key check (name ~ '^spare_[0-9a-f]{16}$'),
	state text not null check (state in ('building', 'ready', 'dropping')),
	kind text not null,
	server text not null references tenantry.servers (name),
	cluster text not null,
	database text not null,
	schema text not null,
	role text,
	password bytea,
	fingerprint text not null,
	created_at timestamptz not null default now(),
	check (name = case kind when 'database' then database else schema end),
	check ((kind = 'database') = (schema = 'public')),
	check (kind = 'schema' or role is not null and password is not null),
	foreign key (cluster, database, kind) references tenantry.databases (cluster, name, kind) on update cascade
);
create index spares_server on tenantry.spares (server, kind);
