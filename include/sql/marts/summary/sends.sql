-- grain: one campaign and state of its sends                        key: (campaign, status)
-- reads: engage.campaigns, engage.sends
-- rerun: reads only
-- params: none
-- A campaign without sends is listed too, with a null state.
select
    c.campaign,
    c.state,
    s.status,
    count(s.send_id) as sends
from mkt_engage.campaigns as c
left join mkt_engage.sends as s on c.campaign_id = s.campaign_id
group by c.campaign, c.state, s.status
order by c.campaign, s.status
