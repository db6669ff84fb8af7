-- grain: one member of the segment of a campaign that was started with `existing: enrol`
-- reads: mkt_engage.segment_memberships    params: campaign_id, version, segment, shards, at
-- rerun: once a shard, the mark that asks for it is deleted with it
insert into tick_candidates (
    campaign_id, version, contact_id, profile_id, shard, entry_ref, entered_at, entry
)
select
    %(campaign_id)s,
    %(version)s,
    m.contact_id,
    m.contact_id as profile_id,
    mod(m.contact_id, 64)::smallint as shard,
    to_char(m.entered_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as entry_ref,
    %(at)s::timestamptz as entered_at,
    jsonb_build_object('segment', %(segment)s::text) as entry
from mkt_engage.segment_memberships as m
where
    m.segment = %(segment)s
    and m.left_at is null
    and mod(m.contact_id, 64)::smallint = any(%(shards)s);
