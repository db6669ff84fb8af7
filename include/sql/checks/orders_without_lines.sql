-- says: orders have an amount but no lines, so products and stock are wrong
-- grain: one account
-- reads: mkt_core.orders, mkt_core.order_lines    params: at
-- rerun: reads only
-- An hour's grace, and only orders still worth something: an emptied order may lose its lines.
select
    orders.account as subject,
    count(*) || ' orders of 30 days, the first is ' || min(orders.order_id) as detail
from mkt_core.orders
where
    orders.placed_at >= %(at)s::timestamptz - interval '30 days'
    and orders.placed_at < %(at)s::timestamptz - interval '1 hour'
    and orders.current_amount > 0
    and not orders.is_deleted
    and not exists (
        select 1
        from mkt_core.order_lines
        where order_lines.order_id = orders.order_id
    )
group by orders.account
order by orders.account
