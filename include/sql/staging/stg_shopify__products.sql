-- grain: one shop product        key: (account, external_id)
-- reads: mkt_raw.shopify__products
-- rerun: replaces the view, which holds no data

create or replace view mkt_staging.shopify__products as
select
    'shopify'::text as system,
    products.account,
    products.id as external_id,
    products.sku,
    products.title,
    nullif(trim(products.category), '') as category,
    products.vendor,
    products.price,
    -- the product's price is in the shop's currency, which the product itself does not name
    null::text as currency,
    products.stock,
    products.image_url,
    products.url,
    products.is_deleted,
    coalesce(products.source_updated_at, products.updated_at) as updated_at,
    products.sync_run_id
from mkt_raw.shopify__products as products;
