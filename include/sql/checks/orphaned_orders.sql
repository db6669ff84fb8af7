-- says: orders belong to contacts that do not exist, so customers and segments miss them
-- grain: one account
-- reads: mkt_core.orders, mkt_core.contacts    params: at
-- rerun: reads only
-- Orders without a customer and without an address belong to nobody and are not looked at.
select
    orders.account as subject,
    count(*) || ' orders of 30 days, the first is ' || min(orders.order_id) as detail
from mkt_core.orders
left join mkt_core.contacts on orders.contact_id = contacts.contact_id
where
    orders.placed_at >= %(at)s::timestamptz - interval '30 days'
    and orders.profile_id is not null
    and not orders.is_deleted
    and contacts.contact_id is null
group by orders.account
order by orders.account
