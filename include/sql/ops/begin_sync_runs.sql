-- grain: one row per stream of the family: its new run, with the cursor and what blocks the account
-- reads: mkt_ops.sync_cursors, mkt_ops.account_state, mkt_ops.sync_runs, pg_locks
-- params: account, system, stream, streams, kind (null = by the cursor), window_start, window_end,
--         started_at
-- rerun: opens new runs; a run whose session is gone (nobody holds its lock) becomes failed
with known as (
    select
        cursors.cursor_at,
        cursors.page_state,
        states.blocked_until,
        states.reason,
        coalesce(
            %(kind)s,
            case when cursors.cursor_at is null then 'initial' else 'incremental' end
        ) as kind
    from (select %(account)s::text as account) as asked
    left join mkt_ops.sync_cursors as cursors
        on asked.account = cursors.account and cursors.stream = %(stream)s
    left join mkt_ops.account_state as states
        on asked.account = states.account
),

killed as (
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
        known.kind,
        known.kind <> 'incremental' as is_baseline,
        %(window_start)s,
        %(window_end)s,
        'running' as status,
        %(started_at)s
    from known
    cross join unnest(%(streams)s::text[]) with ordinality as family (stream, place)
    order by family.place
    returning sync_run_id, stream
)

select
    begun.sync_run_id,
    begun.stream,
    known.kind,
    known.cursor_at,
    known.page_state,
    known.blocked_until,
    known.reason,
    pg_advisory_lock(hashtextextended('sync_run:' || begun.sync_run_id, 0)) as is_locked,
    set_config('synchronous_commit', 'off', true) as commits_async
from begun
cross join known
