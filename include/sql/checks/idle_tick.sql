-- says: campaigns are live but the tick does not run
-- grain: one row while it is so
-- reads: mkt_engage.campaigns, mkt_ops.ticks    params: at
-- rerun: reads only
with

last_tick as (
    select max(tick_at) as tick_at
    from mkt_ops.ticks
),

final as (
    select
        'run_campaigns' as subject,
        coalesce('last tick ' || to_char(tick_at, 'YYYY-MM-DD HH24:MI') || ' UTC', 'never ran')
            as detail
    from last_tick
    where
        exists (
            select 1
            from mkt_engage.campaigns
            where
                state = 'live'
                and state_changed_at < %(at)s::timestamptz - interval '20 minutes'
        )
        and coalesce(tick_at, '-infinity') < %(at)s::timestamptz - interval '20 minutes'
)

select
    subject,
    detail
from final
