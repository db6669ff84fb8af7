-- grain: one account that can reach people
-- reads: mkt_ops.{sending_modes,stop_switch}, mkt_engage.campaigns    params: none
-- rerun: reads only

with stopped as (
    select scope from mkt_ops.stop_switch
    where is_stopped
)

select
    sending_modes.account,
    sending_modes.mode,
    cardinality(sending_modes.allow_list) as addresses,
    'all' in (select stopped.scope from stopped)
    or coalesce(sending_modes.brand in (select stopped.scope from stopped), false) as is_stopped,
    coalesce(
        array_agg(campaigns.campaign order by campaigns.campaign)
        filter (where campaigns.campaign is not null),
        '{}'
    ) as live_campaigns
from mkt_ops.sending_modes
left join mkt_engage.campaigns
    on sending_modes.brand = campaigns.brand and campaigns.state = 'live'
group by sending_modes.account
order by sending_modes.account
