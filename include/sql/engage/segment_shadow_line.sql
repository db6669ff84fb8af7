-- grain: one product of a category, and one line of it on the order of a test's event
-- reads: nothing   rerun: the caller rolls back after each test   params: number, product_category
with products as (
    insert into pg_temp.products (product_id, system, account, external_id, category, batch)
    values (%(number)s, 'test', 'test', %(number)s::text, %(product_category)s, 1)
    returning product_id
)

insert into pg_temp.order_lines (
    account, external_id, order_id, product_id, quantity, amount, batch
)
select
    'test' as account,
    %(number)s::text as external_id,
    %(number)s as order_id,
    product_id,
    1 as quantity,
    0 as amount,
    1 as batch
from products
