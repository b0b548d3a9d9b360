with mine as (
	select oid as namespace from pg_catalog.pg_namespace where nspname = ?
), inside as (
	select 'pg_catalog.pg_class'::regclass as class, c.oid from pg_catalog.pg_class c, mine where c.relnamespace = mine.namespace
	union all
	select 'pg_catalog.pg_type'::regclass, t.oid from pg_catalog.pg_type t, mine where t.typnamespace = mine.namespace
	union all
	select 'pg_catalog.pg_proc'::regclass, p.oid from pg_catalog.pg_proc p, mine where p.pronamespace = mine.namespace
	union all
	select 'pg_catalog.pg_constraint'::regclass, k.oid from pg_catalog.pg_constraint k, mine where k.connamespace = mine.namespace
), dependent as (
	select distinct d.classid, d.objid, d.objsubid
	from pg_catalog.pg_depend d join inside on d.refclassid = inside.class and d.refobjid = inside.oid
	where d.deptype in ('n', 'a')
), placed as (
	select dependent.*, coalesce(
		(select c.relnamespace from pg_catalog.pg_class c where classid = 'pg_catalog.pg_class'::regclass and c.oid = objid),
		(select t.typnamespace from pg_catalog.pg_type t where classid = 'pg_catalog.pg_type'::regclass and t.oid = objid),
		(select p.pronamespace from pg_catalog.pg_proc p where classid = 'pg_catalog.pg_proc'::regclass and p.oid = objid),
		(select k.connamespace from pg_catalog.pg_constraint k where classid = 'pg_catalog.pg_constraint'::regclass and k.oid = objid),
		(select c.relnamespace from pg_catalog.pg_rewrite r join pg_catalog.pg_class c on c.oid = r.ev_class where classid = 'pg_catalog.pg_rewrite'::regclass and r.oid = objid),
		(select c.relnamespace from pg_catalog.pg_attrdef a join pg_catalog.pg_class c on c.oid = a.adrelid where classid = 'pg_catalog.pg_attrdef'::regclass and a.oid = objid),
		(select c.relnamespace from pg_catalog.pg_trigger t join pg_catalog.pg_class c on c.oid = t.tgrelid where classid = 'pg_catalog.pg_trigger'::regclass and t.oid = objid),
		(select c.relnamespace from pg_catalog.pg_policy p join pg_catalog.pg_class c on c.oid = p.polrelid where classid = 'pg_catalog.pg_policy'::regclass and p.oid = objid)
	) as namespace
	from dependent
)
select pg_catalog.pg_describe_object(classid, objid, objsubid) from placed, mine
where placed.namespace <> mine.namespace
order by 1 limit 10
