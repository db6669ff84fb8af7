-- grain: one line of one shop order        key: (account, external_id)
-- reads: mkt_raw.shopify__order_lines
-- rerun: replaces the view, which holds no data

create or replace view mkt_staging.shopify__order_lines as
select
    'shopify'::text as system,
    lines.account,
    lines.id as external_id,
    lines.order_id,
    lines.product_id,
    lines.sku,
    lines.title,
    coalesce(lines.quantity, 0)::numeric as quantity,
    coalesce(lines.amount, 0) as amount,
    coalesce(lines.discount_amount, 0) as discount_amount,
    lines.is_deleted,
    lines.sync_run_id
from mkt_raw.shopify__order_lines as lines;
