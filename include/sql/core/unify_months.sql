-- grain: one month in which the runs' events happened and that has no partition yet
-- reads: mkt_staging.{orders,refunds,carts,consents,deals,deal_stages,list_members,email_events}
-- params: runs, months
-- rerun: reads only
-- An instant outside 1970 to 2100 is a mistake of its source: its fact is kept, without an event.

with moments as (
    select placed_at as occurred_at from mkt_staging.orders
    where sync_run_id = any(%(runs)s::bigint[])
    union all
    select cancelled_at from mkt_staging.orders
    where sync_run_id = any(%(runs)s::bigint[])
    union all
    select refunded_at from mkt_staging.refunds
    where sync_run_id = any(%(runs)s::bigint[])
    union all
    select updated_at from mkt_staging.carts
    where sync_run_id = any(%(runs)s::bigint[])
    union all
    select coalesce(changed_at, updated_at) from mkt_staging.consents
    where sync_run_id = any(%(runs)s::bigint[])
    union all
    select updated_at from mkt_staging.consents
    where sync_run_id = any(%(runs)s::bigint[])
    union all
    select created_at from mkt_staging.deals
    where sync_run_id = any(%(runs)s::bigint[])
    union all
    select closed_at from mkt_staging.deals
    where sync_run_id = any(%(runs)s::bigint[])
    union all
    select updated_at from mkt_staging.deals
    where sync_run_id = any(%(runs)s::bigint[])
    union all
    select entered_at from mkt_staging.deal_stages
    where sync_run_id = any(%(runs)s::bigint[])
    union all
    select added_at from mkt_staging.list_members
    where sync_run_id = any(%(runs)s::bigint[])
    union all
    select occurred_at from mkt_staging.email_events
    where sync_run_id = any(%(runs)s::bigint[])
),

months as (
    select date_trunc('month', occurred_at at time zone 'UTC')::date as month
    from moments
    where occurred_at >= '1970-01-01T00:00Z' and occurred_at < '2100-01-01T00:00Z'
    union
    select months.month from unnest(%(months)s::date[]) as months (month)
)

select array(
    select months.month
    from months
    where to_regclass('mkt_core.events_' || to_char(months.month, 'YYYYMM')) is null
    order by months.month
) as missing;
