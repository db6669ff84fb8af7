-- grain: one shard whose facts were acted on
-- reads: nothing    writes: mkt_engage.shard_marks, mkt_engage.campaign_marks
-- rerun: marks only grow
-- params: shards, batch, at, seen_segments (jsonb), tick_id, waiting (campaigns that take nobody
--         now: they keep the marks they had), open (campaigns whose own marks are used up)
with kept as (
    insert into mkt_engage.campaign_marks (
        campaign_id, shard, seen_batch, seen_at, seen_segments
    )
    select
        w.campaign_id,
        m.shard,
        m.seen_batch,
        m.seen_at,
        m.seen_segments
    from unnest(%(waiting)s::integer[]) as w (campaign_id)
    cross join mkt_engage.shard_marks as m
    where m.shard = any(%(shards)s)
    on conflict do nothing
),

used as (
    delete from mkt_engage.campaign_marks as k
    where k.shard = any(%(shards)s) and k.campaign_id = any(%(open)s)
)

update mkt_engage.shard_marks as m
set
    seen_batch = greatest(m.seen_batch, %(batch)s),
    seen_at = greatest(m.seen_at, %(at)s),
    seen_segments = m.seen_segments || %(seen_segments)s,
    tick_id = %(tick_id)s
where m.shard = any(%(shards)s);
