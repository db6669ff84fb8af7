-- says: a sync lost or invented records: what was fetched is not what was booked
-- grain: one run of one stream of the last two days
-- reads: mkt_ops.sync_runs    params: at
-- rerun: reads only
select
    account || '.' || stream as subject,
    'run ' || sync_run_id || ' fetched ' || fetched as detail
from mkt_ops.sync_runs
where
    status = 'success'
    and started_at >= %(at)s::timestamptz - interval '2 days'
    and fetched
    <> inserted + updated + unchanged + duplicates + stale + rejected + tombstoned
order by sync_run_id
