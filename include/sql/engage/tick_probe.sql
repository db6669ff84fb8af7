-- grain: one shard in which a tick has something to do, and how many are due there (counted up to
--        `enough`)
-- reads: mkt_engage.{shard_marks, campaign_marks, enrolments, segments}, mkt_core.events
-- rerun: reads only. Each test is an index probe, so that an idle tick costs next to nothing.
-- params: at, batch, live (campaign ids), open (those that take entries), segments, types, enough
with news as materialized (
    select
        exists(
            select 1 from mkt_core.events as e
            where
                e.event_type = any(%(types)s)
                and e.occurred_at > (select min(m.seen_at) from mkt_engage.shard_marks as m)
                and e.occurred_at <= %(at)s
                and e.batch <= (select max(m.seen_batch) from mkt_engage.shard_marks as m)
        ) as has_come_true
),

shards as (
    select
        m.shard,
        d.due,
        m.seen_batch < %(batch)s
        or n.has_come_true
        or exists (
            select 1 from mkt_engage.segments as g
            where
                g.segment = any(%(segments)s)
                and g.last_evaluated_at <= %(at)s
                and (
                    m.seen_segments -> g.segment is null
                    or (m.seen_segments -> g.segment ->> 'at')::timestamptz < g.last_evaluated_at
                    or (m.seen_segments -> g.segment ->> 'batch')::bigint < g.last_batch
                )
        )
        or o.has_own_marks as has_news,
        o.has_own_marks
    from mkt_engage.shard_marks as m
    cross join news as n
    cross join
        lateral (
            select
                exists(
                    select 1 from mkt_engage.campaign_marks as k
                    where k.shard = m.shard and k.campaign_id = any(%(open)s)
                ) as has_own_marks
        ) as o
    cross join
        lateral (
            select count(*) as due
            from (
                select 1 as one from mkt_engage.enrolments as e
                where
                    e.shard = m.shard
                    and e.status = 'active'
                    and e.due_at <= %(at)s
                    and e.campaign_id = any(%(live)s)
                order by e.due_at
                limit %(enough)s
            ) as f
        ) as d
)

select
    s.shard,
    -- whoever waited for a pause to end may be many
    case when s.has_own_marks then %(enough)s::bigint else s.due end as due
from shards as s
where s.has_news or s.due > 0
order by s.shard;
