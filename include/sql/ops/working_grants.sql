-- grain: one schema of ours and what the current role may do in it
-- reads: pg_catalog    params: none
-- rerun: reads only

with ours as (
    select
        oid as schema_id,
        nspname as schema
    from pg_catalog.pg_namespace
    where nspname in ('mkt_raw', 'mkt_staging', 'mkt_core', 'mkt_engage', 'mkt_marts', 'mkt_ops')
)

select
    ours.schema,
    has_schema_privilege(ours.schema_id, 'USAGE') as has_usage,
    count(*) filter (
        where
        not has_table_privilege(pg_class.oid, 'SELECT')
        or (
            pg_class.relkind in ('r', 'p')
            and not (
                has_table_privilege(pg_class.oid, 'INSERT')
                and has_table_privilege(pg_class.oid, 'UPDATE')
                and has_table_privilege(pg_class.oid, 'DELETE')
            )
        )
    ) as closed_relations,
    count(*) filter (
        where pg_class.relkind = 'p' and not pg_has_role(pg_class.relowner, 'USAGE')
    ) as foreign_partitioned
from ours
left join pg_catalog.pg_class
    on
        ours.schema_id = pg_class.relnamespace
        and pg_class.relkind in ('r', 'p', 'v', 'm')
group by ours.schema, ours.schema_id
order by ours.schema
