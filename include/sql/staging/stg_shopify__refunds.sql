-- grain: one refund of one shop order        key: (account, external_id)
-- reads: mkt_raw.shopify__refunds
-- rerun: replaces the view, which holds no data

create or replace view mkt_staging.shopify__refunds as
select
    'shopify'::text as system,
    refunds.account,
    refunds.id as external_id,
    refunds.order_id,
    coalesce(refunds.created_at, refunds.source_updated_at, refunds.loaded_at) as refunded_at,
    coalesce(refunds.amount, 0) as amount,
    refunds.is_deleted,
    refunds.sync_run_id
from mkt_raw.shopify__refunds as refunds;
