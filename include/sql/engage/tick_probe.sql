-- grain: one shard in which a tick has something to do
-- reads: mkt_engage.{shard_marks, campaign_marks, enrolments, segments}, mkt_core.events
-- rerun: reads only. Each test is an index probe, so that an idle tick costs next to nothing.
-- params: at, batch, live (campaign ids), open (those that take entries), segments, types
select m.shard
from mkt_engage.shard_marks as m
where
    m.seen_batch < %(batch)s
    or exists (
        select 1 from mkt_engage.enrolments as n
        where
            n.shard = m.shard
            and n.status = 'active'
            and n.due_at <= %(at)s
            and n.campaign_id = any(%(live)s)
    )
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
    or exists (
        select 1 from mkt_engage.campaign_marks as k
        where k.shard = m.shard and k.campaign_id = any(%(open)s)
    )
    or exists (
        select 1 from mkt_core.events as e
        where
            e.event_type = any(%(types)s)
            and e.occurred_at > m.seen_at and e.occurred_at <= %(at)s
            and e.batch <= m.seen_batch
            and mod(e.contact_id, 64)::smallint = m.shard
    )
order by m.shard;
