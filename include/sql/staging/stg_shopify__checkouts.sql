-- grain: one abandoned checkout (a cart) as last seen        key: (account, external_id)
-- reads: mkt_raw.shopify__checkouts
-- rerun: replaces the view, which holds no data

create or replace view mkt_staging.shopify__carts as
select
    'shopify'::text as system,
    checkouts.account,
    checkouts.id as external_id,
    checkouts.customer_id,
    -- Shopify shows an abandoned checkout's customer, never a bare address (API 2026-10)
    null::text as email,
    coalesce(
        checkouts.created_at, checkouts.updated_at, checkouts.source_updated_at, checkouts.loaded_at
    ) as created_at,
    coalesce(
        checkouts.updated_at, checkouts.source_updated_at, checkouts.created_at, checkouts.loaded_at
    ) as updated_at,
    checkouts.completed_at,
    upper(checkouts.currency) as currency,
    checkouts.amount,
    coalesce(checkouts.lines, '[]') as lines,
    checkouts.url,
    checkouts.is_deleted,
    checkouts.sync_run_id
from mkt_raw.shopify__checkouts as checkouts;
