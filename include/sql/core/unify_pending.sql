-- grain: one finished run whose rows were not taken over yet        key: sync_run_id
-- reads: mkt_ops.sync_runs
-- rerun: reads only
-- A failed run counts: what it stored before failing is committed. Its own counts are not trusted.

select
    sync_run_id,
    account,
    is_baseline,
    status = 'failed' or inserted + updated + tombstoned > 0 as has_rows
from mkt_ops.sync_runs
where unified_batch is null and status <> 'running'
order by sync_run_id;
