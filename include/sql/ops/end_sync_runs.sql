-- grain: one row per run that ends        key: sync_run_id
-- reads: mkt_ops.sync_runs        params: runs, status, finished_at, error
-- rerun: the same end again; the session's lock on the run is given back
with ended as (
    update mkt_ops.sync_runs
    set
        status = %(status)s,
        finished_at = %(finished_at)s,
        error = %(error)s
    where sync_run_id = any(%(runs)s)
    returning sync_run_id
)

select pg_advisory_unlock(hashtextextended('sync_run:' || ended.sync_run_id, 0))
from ended
