-- says: a contact is in a segment twice at once, so entries and counts are wrong
-- grain: one segment
-- reads: mkt_engage.segment_memberships    params: none
-- rerun: reads only
with

doubled as (
    select
        segment,
        contact_id
    from mkt_engage.segment_memberships
    where left_at is null
    group by segment, contact_id
    having count(*) > 1
),

final as (
    select
        segment as subject,
        count(*) || ' contacts, the first is ' || min(contact_id) as detail
    from doubled
    group by segment
)

select
    subject,
    detail
from final
order by subject
