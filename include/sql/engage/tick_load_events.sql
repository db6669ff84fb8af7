-- grain: one event that became visible since its contact's shard was last ticked
-- reads: mkt_core.events, mkt_ops.batches, mkt_engage.shard_marks, mkt_engage.campaign_marks
-- rerun: once a transaction, into an empty table
-- params: shards, types, batch, at, min_batch, min_at (lower bounds over all marks concerned)
with found as (
    select e.* from mkt_core.events as e
    where
        e.batch > %(min_batch)s and e.batch <= %(batch)s
        and e.occurred_at <= %(at)s
        and e.event_type = any(%(types)s)
        and mod(e.contact_id, 64)::smallint = any(%(shards)s)
        and not e.is_machine
    union all
    -- known for some time, but dated after the last tick: its instant has come now
    select e.* from mkt_core.events as e
    where
        e.batch <= %(min_batch)s
        and e.occurred_at > %(min_at)s and e.occurred_at <= %(at)s
        and e.event_type = any(%(types)s)
        and mod(e.contact_id, 64)::smallint = any(%(shards)s)
        and not e.is_machine
),

loaded as (
    insert into tick_events (
        event_id, occurred_at, batch, is_baseline, profile_id, contact_id, shard, event_type, props
    )
    select
        f.event_id,
        f.occurred_at,
        f.batch,
        b.is_baseline,
        f.profile_id,
        f.contact_id,
        mod(f.contact_id, 64)::smallint as shard,
        f.event_type,
        f.properties || jsonb_strip_nulls(jsonb_build_object(
            'key', f.key,
            'amount', coalesce(f.reporting_amount, f.amount),
            'currency', f.currency,
            'order_id', f.order_id,
            'cart_id', f.cart_id,
            'product_id', f.product_id
        )) as props
    from found as f
    inner join mkt_ops.batches as b on f.batch = b.batch
    returning event_type
)

select
    l.event_type,
    count(*) as events
from loaded as l
group by l.event_type;
