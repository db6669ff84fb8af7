-- grain: one campaign that is not a draft, and what the database decided about it
-- reads: mkt_engage.campaigns, mkt_ops.stop_switch    params: none
-- rerun: reads only
select
    c.campaign_id,
    c.campaign,
    c.brand,
    c.state,
    c.live_version,
    c.seen_batch,
    c.seen_at,
    c.entries_stopped_at is not null as is_full,
    exists(
        select 1 from mkt_ops.stop_switch as s
        where s.is_stopped and s.scope in ('all', c.brand)
    ) as is_stopped
from mkt_engage.campaigns as c
where c.state <> 'draft'
order by c.campaign_id
