-- grain: one group of shards with something due
-- reads: mkt_engage.{sends,campaigns}, mkt_ops.stop_switch
-- params: account, now, groups
-- rerun: reads only
select distinct sends.shard * %(groups)s::integer / 64 as shard_group
from mkt_engage.sends
inner join mkt_engage.campaigns on sends.campaign_id = campaigns.campaign_id
where
    sends.via = %(account)s
    and sends.status = 'claimed'
    and sends.due_at <= %(now)s
    and (sends.lease_until is null or sends.lease_until <= %(now)s)
    and campaigns.state in ('live', 'stopped')
    and not exists (
        select 1 from mkt_ops.stop_switch
        where stop_switch.is_stopped and stop_switch.scope in ('all', sends.brand)
    )
order by shard_group
