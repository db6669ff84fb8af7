-- says: a stream was not read for too long
-- grain: one stream that is late
-- reads: mkt_ops.sync_runs    params: at, expected ([{account, stream, hours}])
-- rerun: reads only
with

expected as (
    select
        wanted.account,
        wanted.stream,
        wanted.hours
    from
        jsonb_to_recordset(%(expected)s::jsonb)
            as wanted (account text, stream text, hours integer)
),

read as (
    select
        expected.account,
        expected.stream,
        expected.hours,
        max(runs.started_at) as last_at
    from expected
    left join mkt_ops.sync_runs as runs
        on
            expected.account = runs.account
            and expected.stream = runs.stream
            and runs.status = 'success'
            and runs.kind in ('initial', 'incremental', 'full_refresh')
    group by expected.account, expected.stream, expected.hours
),

final as (
    select
        account || '.' || stream as subject,
        case
            when last_at is null then 'never read'
            else 'last read ' || to_char(last_at, 'YYYY-MM-DD HH24:MI') || ' UTC'
        end as detail
    from read
    where
        last_at is null
        or last_at < %(at)s::timestamptz - make_interval(hours => hours)
)

select
    subject,
    detail
from final
order by subject
