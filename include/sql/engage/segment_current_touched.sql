-- grain: one open membership of a touched contact   key: (segment, contact_id)
-- reads: engage.segment_memberships, pg_temp.segment_touched   rerun: once a transaction
-- params: segments
insert into pg_temp.segment_current (contact_id, segment)
select
    m.contact_id,
    m.segment
from pg_temp.segment_touched as t
inner join mkt_engage.segment_memberships as m on t.contact_id = m.contact_id
where m.left_at is null and m.segment = any(%(segments)s::text[])
