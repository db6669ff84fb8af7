-- grain: one row per stream of the family: the number of its new run
-- reads: mkt_ops.sync_runs, pg_locks        params: account, system, streams, kind, is_baseline,
--        window_start, window_end, started_at, status
-- rerun: opens new runs; a run whose session is gone (nobody holds its lock) becomes failed
with killed as (
    update mkt_ops.sync_runs
    set
        status = 'failed',
        finished_at = %(started_at)s,
        error = 'killed before it ended: the next run went on where it had committed'
    where
        account = %(account)s
        and stream = any(%(streams)s)
        and status = 'running'
        and not exists (
            select 1
            from pg_locks
            where
                pg_locks.locktype = 'advisory'
                and (pg_locks.classid::bigint << 32) | pg_locks.objid::bigint
                = hashtextextended('sync_run:' || sync_runs.sync_run_id, 0)
        )
),

begun as (
    insert into mkt_ops.sync_runs (
        account,
        system,
        stream,
        kind,
        is_baseline,
        window_start,
        window_end,
        status,
        started_at
    )
    select
        %(account)s,
        %(system)s,
        family.stream,
        %(kind)s,
        %(is_baseline)s,
        %(window_start)s,
        %(window_end)s,
        %(status)s,
        %(started_at)s
    from unnest(%(streams)s::text[]) with ordinality as family (stream, place)
    order by family.place
    returning sync_run_id, stream
)

select
    begun.sync_run_id,
    begun.stream,
    pg_advisory_lock(hashtextextended('sync_run:' || begun.sync_run_id, 0)) as is_locked,
    set_config('synchronous_commit', 'off', true) as commits_async
from begun
