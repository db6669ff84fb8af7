-- grain: one row: what these runs brought, counted up to a bound, and the months of its events
-- reads: mkt_staging.<entity>        params: runs, bound
-- rerun: reads only

with moments as (
    select placed_at as occurred_at from mkt_staging.orders
    where sync_run_id = any(%(runs)s::bigint [])
    union all
    select cancelled_at from mkt_staging.orders
    where sync_run_id = any(%(runs)s::bigint [])
    union all
    select refunded_at from mkt_staging.refunds
    where sync_run_id = any(%(runs)s::bigint [])
    union all
    select updated_at from mkt_staging.carts
    where sync_run_id = any(%(runs)s::bigint [])
    union all
    select changed_at from mkt_staging.consents
    where sync_run_id = any(%(runs)s::bigint [])
    union all
    select updated_at from mkt_staging.consents
    where sync_run_id = any(%(runs)s::bigint [])
)

select
    (
        select count(*) from (
            select from mkt_staging.contacts
            where sync_run_id = any(%(runs)s::bigint []) limit %(bound)s
        ) as contacts
    ) as contacts,
    (
        select count(*) from (
            select from mkt_staging.consents
            where sync_run_id = any(%(runs)s::bigint []) limit %(bound)s
        ) as consents
    ) as consents,
    (
        select count(*) from (
            select from mkt_staging.orders
            where sync_run_id = any(%(runs)s::bigint []) limit %(bound)s
        ) as orders
    ) as orders,
    (
        select count(*) from (
            select from mkt_staging.order_lines
            where sync_run_id = any(%(runs)s::bigint []) limit %(bound)s
        ) as order_lines
    ) as order_lines,
    (
        select count(*) from (
            select from mkt_staging.refunds
            where sync_run_id = any(%(runs)s::bigint []) limit %(bound)s
        ) as refunds
    ) as refunds,
    (
        select count(*) from (
            select from mkt_staging.products
            where sync_run_id = any(%(runs)s::bigint []) limit %(bound)s
        ) as products
    ) as products,
    (
        select count(*) from (
            select from mkt_staging.carts
            where sync_run_id = any(%(runs)s::bigint []) limit %(bound)s
        ) as carts
    ) as carts,
    array(
        select distinct date_trunc('month', occurred_at at time zone 'UTC')::date
        from moments
        where occurred_at >= '1970-01-01T00:00Z' and occurred_at < '2100-01-01T00:00Z'
    ) as months;
