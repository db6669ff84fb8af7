-- says: nobody knows whether some messages went out; they are listed and not sent again
-- grain: one campaign and day
-- reads: mkt_engage.sends, mkt_engage.campaigns    params: at
-- rerun: reads only
select
    campaigns.campaign as subject,
    count(*) || ' of ' || sends.entered_on || ', the first is send ' || min(sends.send_id)
        as detail
from mkt_engage.sends
inner join mkt_engage.campaigns on sends.campaign_id = campaigns.campaign_id
where
    sends.status = 'unknown'
    and sends.in_flight_at >= %(at)s::timestamptz - interval '1 day'
group by campaigns.campaign, sends.entered_on
order by campaigns.campaign, sends.entered_on
