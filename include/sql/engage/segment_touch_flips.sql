-- grain: one contact for whom time alone may have changed an answer   key: (contact_id)
-- reads: core.events, core.contacts   rerun: adds nobody twice
-- params: last_at, at, event_types and spans (pairs; span 0 = events dated ahead of last_at),
--         created_spans
with edges as (
    select
        w.event_type,
        %(last_at)s::timestamptz - w.span as after_at,
        %(at)s::timestamptz - w.span as until_at
    from unnest(%(event_types)s::text[], %(spans)s::interval[]) as w (event_type, span)
),

touched as (
    select e.contact_id
    from edges as w
    inner join mkt_core.events as e
        on
            w.event_type = e.event_type
            and w.after_at < e.occurred_at
            and w.until_at >= e.occurred_at
    union all
    select c.contact_id
    from unnest(%(created_spans)s::interval[]) as w (span)
    inner join mkt_core.contacts as c
        on
            c.created_at > %(last_at)s::timestamptz - w.span
            and c.created_at <= %(at)s::timestamptz - w.span
)

insert into pg_temp.segment_touched (contact_id, is_merged)
select distinct
    contact_id,
    false as is_merged
from touched
on conflict (contact_id) do nothing
