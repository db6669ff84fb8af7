-- grain: one contact that entered (or left) the segment of a live campaign since its mark
-- reads: mkt_engage.segment_memberships, mkt_core.contacts
-- rerun: a stay older than the mark is never looked at again
-- params: campaign_id, version, segment, is_leave, marks (jsonb: shard, lower, is_again),
--         upper (the segment's last evaluation), earliest (smallest lower)
insert into tick_candidates (
    campaign_id, version, contact_id, profile_id, shard, entry_ref, entered_at, entry
)
with stays as (
    select
        m.contact_id,
        m.left_at as at
    from mkt_engage.segment_memberships as m
    where
        %(is_leave)s
        and m.segment = %(segment)s
        and m.left_at >= %(earliest)s and m.left_at <= %(upper)s
        and not exists (
            select 1 from mkt_engage.segment_memberships as o
            where o.segment = m.segment and o.contact_id = m.contact_id and o.left_at is null
        )
    union all
    select
        m.contact_id,
        m.entered_at as at
    from mkt_engage.segment_memberships as m
    where
        not %(is_leave)s
        and m.segment = %(segment)s
        and m.left_at is null
        and not m.is_baseline
        and m.entered_at >= %(earliest)s and m.entered_at <= %(upper)s
),

marked as (
    select
        s.contact_id,
        s.at,
        k.shard
    from stays as s
    inner join
        jsonb_to_recordset(%(marks)s) as k (shard smallint, lower timestamptz, is_again boolean)
        on mod(s.contact_id, 64)::smallint = k.shard
    where s.at > k.lower or (k.is_again and s.at = k.lower)
)

select
    %(campaign_id)s,
    %(version)s,
    m.contact_id,
    m.contact_id as profile_id,
    m.shard,
    to_char(m.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as entry_ref,
    m.at as entered_at,
    jsonb_build_object('segment', %(segment)s::text) as entry
from marked as m;
