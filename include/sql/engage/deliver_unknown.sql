-- grain: one send whose outcome nobody knows, oldest first
-- reads: mkt_engage.{sends,campaigns,campaign_steps}
-- params: at_most
-- rerun: reads only
select
    sends.send_id,
    campaigns.campaign,
    campaign_steps.step,
    sends.via,
    sends.contact_id,
    sends.in_flight_at,
    sends.provider_id,
    sends.reason
from mkt_engage.sends
inner join mkt_engage.campaigns on sends.campaign_id = campaigns.campaign_id
left join mkt_engage.campaign_steps on sends.step_id = campaign_steps.step_id
where sends.status = 'unknown'
order by sends.in_flight_at, sends.send_id
limit %(at_most)s
