-- says: more people wanted to enter a campaign than its guard allows: entries are stopped
-- grain: one campaign
-- reads: mkt_engage.campaigns    params: at
-- rerun: reads only
select
    campaign as subject,
    'since ' || to_char(entries_stopped_at, 'YYYY-MM-DD HH24:MI') || ' UTC; `resume` goes on'
        as detail
from mkt_engage.campaigns
where
    entries_stopped_at <= %(at)s::timestamptz
    and state in ('live', 'paused')
order by campaign
