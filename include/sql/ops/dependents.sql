-- grain: one view of somebody else that reads a view of ours    key: (ours, theirs)
-- reads: pg_catalog    params: none
-- rerun: reads only
select distinct
    ours_schema.nspname || '.' || ours.relname as ours,
    theirs_schema.nspname || '.' || theirs.relname as theirs
from pg_catalog.pg_depend
inner join pg_catalog.pg_rewrite on pg_depend.objid = pg_rewrite.oid
inner join pg_catalog.pg_class as theirs on pg_rewrite.ev_class = theirs.oid
inner join pg_catalog.pg_namespace as theirs_schema on theirs.relnamespace = theirs_schema.oid
inner join pg_catalog.pg_class as ours on pg_depend.refobjid = ours.oid
inner join pg_catalog.pg_namespace as ours_schema on ours.relnamespace = ours_schema.oid
where
    pg_depend.classid = 'pg_rewrite'::regclass
    and pg_depend.refclassid = 'pg_class'::regclass
    and ours_schema.nspname = 'mkt_staging'
    and theirs_schema.nspname not in (
        'mkt_raw', 'mkt_staging', 'mkt_core', 'mkt_engage', 'mkt_marts', 'mkt_ops'
    )
order by ours, theirs
