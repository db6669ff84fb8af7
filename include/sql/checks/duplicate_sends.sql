-- says: one step of one enrolment was claimed twice, so somebody may get a message twice
-- grain: one campaign
-- reads: mkt_engage.sends, mkt_engage.campaigns    params: at
-- rerun: reads only
-- The ledger's key holds within one day of entry; this looks across days, two months back.
with

doubled as (
    select
        campaign_id,
        enrolment_id,
        step_id,
        visit,
        max(send_id) as send_id
    from mkt_engage.sends
    where entered_on >= %(at)s::timestamptz - interval '62 days'
    group by campaign_id, enrolment_id, step_id, visit
    having count(*) > 1
),

final as (
    select
        campaigns.campaign as subject,
        count(*) || ' steps, the last is send ' || max(doubled.send_id) as detail
    from doubled
    inner join mkt_engage.campaigns on doubled.campaign_id = campaigns.campaign_id
    group by campaigns.campaign
)

select
    subject,
    detail
from final
order by subject
