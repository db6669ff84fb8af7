-- grain: one shop order        key: (account, external_id)
-- reads: mkt_raw.shopify__orders
-- rerun: replaces the view, which holds no data

create or replace view mkt_staging.shopify__orders as
select
    'shopify'::text as system,
    orders.account,
    orders.id as external_id,
    orders.customer_id,
    nullif(lower(trim(orders.email)), '') as email,
    orders.name,
    -- processed_at is when the customer ordered; an import keeps it, created_at does not
    coalesce(
        orders.processed_at,
        orders.created_at,
        orders.updated_at,
        orders.source_updated_at,
        orders.loaded_at
    ) as placed_at,
    orders.updated_at,
    orders.cancelled_at,
    lower(orders.financial_status) as financial_status,
    coalesce(orders.is_test, false) as is_test,
    orders.is_deleted,
    -- ISO 4217: XXX = no currency given
    coalesce(upper(orders.currency), 'XXX') as currency,
    coalesce(orders.total_amount, 0) as gross_amount,
    coalesce(orders.current_total_amount, orders.total_amount, 0) as current_amount,
    coalesce(orders.discount_amount, 0) as discount_amount,
    coalesce(orders.refunded_amount, 0) as refunded_amount,
    array(
        select codes.code
        from
            jsonb_array_elements_text(
                case jsonb_typeof(orders.discount_codes)
                    when 'array' then orders.discount_codes
                    else '[]'
                end
            ) with ordinality as codes (code, position)
        order by codes.position
    ) as discount_codes,
    orders.utm_source,
    orders.utm_medium,
    orders.utm_campaign,
    orders.sync_run_id
from mkt_raw.shopify__orders as orders;
