-- grain: one grant that `migrate` needs and the current role lacks, as a sentence
-- reads: pg_catalog    params: none
-- rerun: reads only

with ours as (
    select
        oid as schema_id,
        nspname as schema
    from pg_catalog.pg_namespace
    where nspname in ('mkt_raw', 'mkt_staging', 'mkt_core', 'mkt_engage', 'mkt_marts', 'mkt_ops')
),

foreign_relations as (
    select
        ours.schema,
        count(*) as relations,
        min(pg_get_userbyid(pg_class.relowner)) as owner
    from pg_catalog.pg_class
    inner join ours on pg_class.relnamespace = ours.schema_id
    where
        pg_class.relkind in ('r', 'p', 'v', 'm')
        and not pg_has_role(pg_class.relowner, 'USAGE')
    group by ours.schema
)

select
    format(
        'cannot create schemas: grant create on database %I to %I',
        current_database(),
        current_user
    ) as says
where not has_database_privilege(current_database(), 'CREATE')
union all
select
    format(
        'cannot create in %s: grant usage, create on schema %I to %I', schema, schema, current_user
    ) as says
from ours
where not (has_schema_privilege(schema_id, 'USAGE') and has_schema_privilege(schema_id, 'CREATE'))
union all
select
    format(
        'does not own %s tables and views of %s: migrate as %I, or grant %I to %I',
        relations,
        schema,
        owner,
        owner,
        current_user
    ) as says
from foreign_relations
order by says
