-- grain: one open membership   key: (segment, contact_id)
-- reads: engage.segment_memberships   rerun: once a transaction   params: segments
insert into pg_temp.segment_current (contact_id, segment)
select
    m.contact_id,
    m.segment
from mkt_engage.segment_memberships as m
where m.left_at is null and m.segment = any(%(segments)s::text[])
