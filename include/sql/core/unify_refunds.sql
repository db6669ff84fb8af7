-- grain: one refund of one order        key: (account, external_id)
-- reads: unify_changed, mkt_staging.refunds, mkt_core.orders
-- params: batch, timezone, reporting_currency
-- writes: mkt_core.{refunds,events,waiting_facts}, mkt_ops.dirty_days
-- rerun: changes nothing
--
-- A refund whose order is not there waits for it. Its event belongs to the order's person.

with compared as materialized (
    select
        incoming.account,
        incoming.external_id,
        incoming.order_id as parent_id,
        incoming.refunded_at,
        incoming.amount,
        incoming.is_deleted,
        orders.order_id,
        orders.external_id as order_external_id,
        orders.brand,
        orders.currency,
        orders.profile_id,
        orders.contact_id,
        held.refunded_at as old_refunded_at,
        md5(concat_ws(':', 'order_refunded', incoming.account, incoming.external_id))::uuid
            as event_id,
        (
            not (orders.is_test or orders.is_deleted or incoming.is_deleted)
            and orders.profile_id is not null
            and incoming.refunded_at >= '1970-01-01T00:00Z'
            and incoming.refunded_at < '2100-01-01T00:00Z'
        ) as is_live,
        (
            held.external_id is null
            or incoming.is_deleted
            or (orders.order_id, incoming.refunded_at, incoming.amount, orders.currency)
            is distinct from (held.order_id, held.refunded_at, held.amount, held.currency)
        ) as is_changed
    from unify_changed as changed
    inner join mkt_staging.refunds as incoming
        on changed.account = incoming.account and changed.external_id = incoming.external_id
    left join mkt_core.orders as orders
        on incoming.account = orders.account and incoming.order_id = orders.external_id
    left join mkt_core.refunds as held
        on incoming.account = held.account and incoming.external_id = held.external_id
    where changed.entity = 'refunds'
),

waiting as (
    insert into mkt_core.waiting_facts (entity, account, parent_id, external_id, batch)
    select
        'refunds' as entity,
        account,
        parent_id,
        external_id,
        %(batch)s::bigint
    from compared
    where order_id is null and parent_id is not null and not is_deleted
    on conflict do nothing
    returning external_id
),

gone as (
    delete from mkt_core.refunds as held
    using compared
    where
        compared.is_deleted
        and held.account = compared.account
        and held.external_id = compared.external_id
),

stored as (
    insert into mkt_core.refunds (
        account, external_id, order_id, refunded_at, amount, currency, batch
    )
    select
        account,
        external_id,
        order_id,
        refunded_at,
        amount,
        currency,
        %(batch)s::bigint
    from compared
    where order_id is not null and is_changed and not is_deleted
    on conflict (account, external_id) do update
        set
            order_id = excluded.order_id,
            refunded_at = excluded.refunded_at,
            amount = excluded.amount,
            currency = excluded.currency,
            batch = excluded.batch
),

removed as (
    delete from mkt_core.events as events
    using compared
    where
        events.event_id = compared.event_id
        and events.occurred_at = compared.old_refunded_at
        and (not compared.is_live or compared.refunded_at <> compared.old_refunded_at)
    returning events.occurred_at
),

written as (
    insert into mkt_core.events as held (
        event_id, occurred_at, profile_id, contact_id, event_type, key, amount, currency,
        reporting_amount, order_id, source, batch, properties
    )
    select
        event_id,
        refunded_at,
        profile_id,
        contact_id,
        'order_refunded' as event_type,
        order_external_id,
        amount,
        currency,
        amount * case
            when currency = %(reporting_currency)s then 1
            else (
                select rates.rate
                from mkt_core.exchange_rates as rates
                where
                    rates.currency = compared.currency
                    and rates.date <= (compared.refunded_at at time zone %(timezone)s)::date
                order by rates.date desc
                limit 1
            )
        end as reporting_amount,
        order_id,
        account,
        %(batch)s::bigint,
        jsonb_build_object('brand', brand) as properties
    from compared
    where is_live
    on conflict (event_id, occurred_at) do update
        set
            profile_id = excluded.profile_id,
            contact_id = excluded.contact_id,
            amount = excluded.amount,
            currency = excluded.currency,
            reporting_amount = excluded.reporting_amount,
            batch = excluded.batch,
            properties = excluded.properties
        where
        (held.profile_id, held.contact_id, held.amount, held.currency, held.reporting_amount)
        is distinct from (
            excluded.profile_id, excluded.contact_id, excluded.amount, excluded.currency,
            excluded.reporting_amount
        )
    returning held.occurred_at
),

moments as (
    select refunded_at as occurred_at from compared where is_changed and order_id is not null
    union all
    select old_refunded_at from compared where is_changed
    union all
    select occurred_at from removed
    union all
    select occurred_at from written
),

dirty as (
    insert into mkt_ops.dirty_days (kpi_group, date, batch)
    select distinct
        'orders' as kpi_group,
        (occurred_at at time zone %(timezone)s)::date,
        %(batch)s::bigint
    from moments
    where occurred_at is not null
    on conflict (kpi_group, date) do update set batch = excluded.batch
    returning date
)

select
    (select count(*) from compared where is_changed and order_id is not null) as changes,
    (select count(*) from written) as events,
    (select count(*) from removed) as removed,
    (select count(*) from waiting) as waiting,
    (select count(*) from dirty) as days;
