-- grain: one raw row that the batch takes over        key: (entity, account, external_id)
-- reads: mkt_staging.<entity>, mkt_core.waiting_facts        params: runs, bound
-- writes: unify_changed, mkt_core.waiting_facts
-- rerun: in a new transaction the same
--
-- What the runs brought, and the lines and refunds that waited for an order among it. A deal is
-- touched by its history too. Consents, merges, list members and e-mail events are read by their
-- run, not by their id: here they are only counted, as far as it matters whether they are many.

-- Materialized: found by their run first, and made distinct then.
with deals as materialized (
    select
        account,
        external_id
    from mkt_staging.deals where sync_run_id = any(%(runs)s::bigint[])
    union all
    select
        account,
        deal_id
    from mkt_staging.deal_stages
    where sync_run_id = any(%(runs)s::bigint[]) and deal_id is not null
),

found as (
    select
        'contacts' as entity,
        account,
        external_id
    from mkt_staging.contacts where sync_run_id = any(%(runs)s::bigint[])
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
    union all
    select
        'companies' as entity,
        account,
        external_id
    from mkt_staging.companies where sync_run_id = any(%(runs)s::bigint[])
    union all
    select
        'owners' as entity,
        account,
        external_id
    from mkt_staging.owners where sync_run_id = any(%(runs)s::bigint[])
    union all
    select
        'stages' as entity,
        account,
        external_id
    from mkt_staging.stages where sync_run_id = any(%(runs)s::bigint[])
    union all
    select
        'lists' as entity,
        account,
        external_id
    from mkt_staging.lists where sync_run_id = any(%(runs)s::bigint[])
    union all
    select distinct
        'deals' as entity,
        account,
        external_id
    from deals
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
),

counted as (
    select
        entity,
        count(*) as found
    from changed
    group by entity
    union all
    select
        'consents' as entity,
        count(*) as found
    from (
        select 1 from mkt_staging.consents
        where sync_run_id = any(%(runs)s::bigint[])
        limit %(bound)s::bigint -- noqa: AM09
    ) as bounded
    union all
    select
        'merges' as entity,
        count(*) as found
    from (
        select 1 from mkt_staging."merges"
        where sync_run_id = any(%(runs)s::bigint[])
        limit %(bound)s::bigint -- noqa: AM09
    ) as bounded
    union all
    select
        'list_members' as entity,
        count(*) as found
    from (
        select 1 from mkt_staging.list_members
        where sync_run_id = any(%(runs)s::bigint[])
        limit %(bound)s::bigint -- noqa: AM09
    ) as bounded
    union all
    select
        'email_events' as entity,
        count(*) as found
    from (
        select 1 from mkt_staging.email_events
        where sync_run_id = any(%(runs)s::bigint[])
        limit %(bound)s::bigint -- noqa: AM09
    ) as bounded
)

select coalesce(jsonb_object_agg(entity, found), '{}') as counts
from counted
where found > 0;
