-- grain: one contact with an order that counts                      key: contact_id
-- reads: core.orders; writes marts.first_orders, returns the days whose newcomers changed
-- rerun: the same; only changed rows are written
-- params: span_starts, span_ends (instants of the days being recomputed), zone
with spans as (
    select
        s.start_at,
        s.end_at
    from unnest(%(span_starts)s::timestamptz[], %(span_ends)s::timestamptz[])
        as s (start_at, end_at)
),

touched as (
    select o.contact_id
    from spans as s
    inner join mkt_core.orders as o on s.start_at <= o.placed_at and s.end_at > o.placed_at
    where o.contact_id is not null
    union
    select f.contact_id
    from spans as s
    inner join mkt_marts.first_orders as f
        on s.start_at <= f.first_order_at and s.end_at > f.first_order_at
),

changed as (
    select
        t.contact_id,
        f.first_order_at as old_at,
        counted.first_order_at as new_at
    from touched as t
    left join mkt_marts.first_orders as f on t.contact_id = f.contact_id
    left join lateral (
        select o.placed_at as first_order_at
        from mkt_core.orders as o
        where
            o.contact_id = t.contact_id
            and o.cancelled_at is null
            and not o.is_test
            and not o.is_deleted
        order by o.placed_at
        limit 1
    ) as counted on true
    where f.first_order_at is distinct from counted.first_order_at
),

removed as (
    delete from mkt_marts.first_orders as f
    using changed as c
    where f.contact_id = c.contact_id and c.new_at is null
),

written as (
    insert into mkt_marts.first_orders (contact_id, first_order_at)
    select
        c.contact_id,
        c.new_at
    from changed as c
    where c.new_at is not null
    order by c.contact_id
    on conflict (contact_id) do update set first_order_at = excluded.first_order_at
)

select distinct (moments.moment at time zone %(zone)s)::date as date
from changed as c
cross join lateral (values (c.old_at), (c.new_at)) as moments (moment)
where
    c.old_at is not null
    and moments.moment is not null
    and (c.old_at at time zone %(zone)s)::date
    is distinct from (c.new_at at time zone %(zone)s)::date
order by date
