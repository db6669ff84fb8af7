-- grain: one raw row that the batch takes over        key: (entity, account, external_id)
-- reads: mkt_staging.<entity>, mkt_core.waiting_facts        params: runs
-- writes: unify_changed, mkt_core.waiting_facts
-- rerun: in a new transaction the same
--
-- What the runs brought, and the lines and refunds that waited for an order among it.

with found as (
    select
        'contacts' as entity,
        account,
        external_id
    from mkt_staging.contacts where sync_run_id = any(%(runs)s::bigint[])
    union all
    select
        'consents' as entity,
        account,
        external_id
    from mkt_staging.consents where sync_run_id = any(%(runs)s::bigint[])
    union all
    select
        'orders' as entity,
        account,
        external_id
    from mkt_staging.orders where sync_run_id = any(%(runs)s::bigint[])
    union all
    select
        'order_lines' as entity,
        account,
        external_id
    from mkt_staging.order_lines where sync_run_id = any(%(runs)s::bigint[])
    union all
    select
        'refunds' as entity,
        account,
        external_id
    from mkt_staging.refunds where sync_run_id = any(%(runs)s::bigint[])
    union all
    select
        'products' as entity,
        account,
        external_id
    from mkt_staging.products where sync_run_id = any(%(runs)s::bigint[])
    union all
    select
        'carts' as entity,
        account,
        external_id
    from mkt_staging.carts where sync_run_id = any(%(runs)s::bigint[])
),

released as (
    delete from mkt_core.waiting_facts as waiting
    where
        exists (
            select 1 from mkt_staging.orders as records
            where
                records.account = waiting.account
                and records.external_id = waiting.parent_id
                and records.sync_run_id = any(%(runs)s::bigint[])
        )
    returning waiting.entity, waiting.account, waiting.external_id
),

changed as (
    insert into unify_changed (entity, account, external_id)
    select
        entity,
        account,
        external_id
    from found
    union all
    select
        released.entity,
        released.account,
        released.external_id
    from released
    -- the others are in the first half already
    where
        not exists (
            select 1 from mkt_staging.order_lines as records
            where
                released.entity = 'order_lines'
                and records.account = released.account
                and records.external_id = released.external_id
                and records.sync_run_id = any(%(runs)s::bigint[])
        )
        and not exists (
            select 1 from mkt_staging.refunds as records
            where
                released.entity = 'refunds'
                and records.account = released.account
                and records.external_id = released.external_id
                and records.sync_run_id = any(%(runs)s::bigint[])
        )
    returning entity
)

select coalesce(jsonb_object_agg(counted.entity, counted.found), '{}') as counts
from (select
    entity,
    count(*) as found
from changed group by entity) as counted;
