-- grain: one order of one shop account        key: (account, external_id)
-- reads: unify_changed, mkt_staging.orders
-- params: brands, batch, timezone, reporting_currency
-- writes: mkt_core.orders, mkt_core.events (order_placed, order_cancelled; order_refunded goes with
--   its order), mkt_ops.dirty_days, unify_changed
-- rerun: changes nothing
--
-- A corrected order replaces its events with the new batch; a deleted or test order has none.

with incoming as materialized (
    select
        records.*,
        %(brands)s::jsonb ->> records.account as brand,
        known.profile_id,
        known.contact_id,
        not (records.is_test or records.is_deleted) and known.profile_id is not null as is_live
    from unify_changed as changed
    inner join mkt_staging.orders as records
        on changed.account = records.account and changed.external_id = records.external_id
    left join mkt_core.contact_identities as known
        on
            known.system
            = case when records.customer_id is null then 'email' else records.system end
            and known.account
            = case when records.customer_id is null then '' else records.account end
            and known.external_id = coalesce(records.customer_id, records.email)
    where changed.entity = 'orders'
),

compared as materialized (
    select
        incoming.*,
        held.order_id as old_order_id,
        held.placed_at as old_placed_at,
        held.cancelled_at as old_cancelled_at,
        held.profile_id as old_profile_id,
        held.contact_id as old_contact_id,
        coalesce(
            not (held.is_test or held.is_deleted) and held.profile_id is not null, false
        ) as was_live
    from incoming
    left join mkt_core.orders as held
        on incoming.account = held.account and incoming.external_id = held.external_id
    where
        held.order_id is null
        or (
            incoming.brand, incoming.profile_id, incoming.contact_id, incoming.name,
            incoming.placed_at, incoming.updated_at, incoming.cancelled_at,
            incoming.financial_status, incoming.is_test, incoming.is_deleted, incoming.currency,
            incoming.gross_amount, incoming.current_amount, incoming.discount_amount,
            incoming.refunded_amount, incoming.discount_codes, incoming.utm_source,
            incoming.utm_medium, incoming.utm_campaign
        ) is distinct from (
            held.brand, held.profile_id, held.contact_id, held.name, held.placed_at,
            held.updated_at, held.cancelled_at, held.financial_status, held.is_test,
            held.is_deleted, held.currency, held.gross_amount, held.current_amount,
            held.discount_amount, held.refunded_amount, held.discount_codes, held.utm_source,
            held.utm_medium, held.utm_campaign
        )
),

stored as (
    insert into mkt_core.orders (
        system, account, brand, external_id, profile_id, contact_id, name, placed_at, updated_at,
        cancelled_at, financial_status, is_test, is_deleted, currency, gross_amount,
        current_amount, discount_amount, refunded_amount, discount_codes, utm_source, utm_medium,
        utm_campaign, batch
    )
    select
        system,
        account,
        brand,
        external_id,
        profile_id,
        contact_id,
        name,
        placed_at,
        updated_at,
        cancelled_at,
        financial_status,
        is_test,
        is_deleted,
        currency,
        gross_amount,
        current_amount,
        discount_amount,
        refunded_amount,
        discount_codes,
        utm_source,
        utm_medium,
        utm_campaign,
        %(batch)s::bigint
    from compared
    order by placed_at, account, external_id
    on conflict (account, external_id) do update
        set
            brand = excluded.brand,
            profile_id = excluded.profile_id,
            contact_id = excluded.contact_id,
            name = excluded.name,
            placed_at = excluded.placed_at,
            updated_at = excluded.updated_at,
            cancelled_at = excluded.cancelled_at,
            financial_status = excluded.financial_status,
            is_test = excluded.is_test,
            is_deleted = excluded.is_deleted,
            currency = excluded.currency,
            gross_amount = excluded.gross_amount,
            current_amount = excluded.current_amount,
            discount_amount = excluded.discount_amount,
            refunded_amount = excluded.refunded_amount,
            discount_codes = excluded.discount_codes,
            utm_source = excluded.utm_source,
            utm_medium = excluded.utm_medium,
            utm_campaign = excluded.utm_campaign,
            batch = excluded.batch
    returning order_id, account, external_id
),

facts as materialized (
    select
        'order_placed' as event_type,
        md5(concat_ws(':', 'order_placed', account, external_id))::uuid as event_id,
        placed_at as occurred_at,
        old_placed_at as old_occurred_at,
        is_live,
        account,
        external_id,
        profile_id,
        contact_id,
        gross_amount as amount,
        currency,
        brand,
        jsonb_strip_nulls(jsonb_build_object(
            'brand', brand,
            'discount_amount', discount_amount,
            'discount_codes', to_jsonb(discount_codes),
            'utm_source', utm_source,
            'utm_medium', utm_medium,
            'utm_campaign', utm_campaign
        )) as properties
    from compared
    union all
    select
        'order_cancelled' as event_type,
        md5(concat_ws(':', 'order_cancelled', account, external_id))::uuid as event_id,
        cancelled_at as occurred_at,
        old_cancelled_at as old_occurred_at,
        is_live and cancelled_at is not null as is_live,
        account,
        external_id,
        profile_id,
        contact_id,
        gross_amount as amount,
        currency,
        brand,
        jsonb_build_object('brand', brand) as properties
    from compared
    where cancelled_at is not null or old_cancelled_at is not null
),

removed as (
    delete from mkt_core.events as events
    using facts
    where
        events.event_id = facts.event_id
        and events.occurred_at = facts.old_occurred_at
        and (not facts.is_live or facts.occurred_at is distinct from facts.old_occurred_at)
    returning events.event_id
),

written as (
    insert into mkt_core.events as held (
        event_id, occurred_at, profile_id, contact_id, event_type, key, amount, currency,
        reporting_amount, order_id, source, batch, properties
    )
    select
        facts.event_id,
        facts.occurred_at,
        facts.profile_id,
        facts.contact_id,
        facts.event_type,
        facts.external_id,
        facts.amount,
        facts.currency,
        facts.amount * case
            when facts.currency = %(reporting_currency)s then 1
            else (
                select rates.rate
                from mkt_core.exchange_rates as rates
                where
                    rates.currency = facts.currency
                    and rates.date <= (facts.occurred_at at time zone %(timezone)s)::date
                order by rates.date desc
                limit 1
            )
        end as reporting_amount,
        stored.order_id,
        facts.account,
        %(batch)s::bigint,
        facts.properties
    from facts
    inner join stored
        on facts.account = stored.account and facts.external_id = stored.external_id
    where
        facts.is_live
        and facts.occurred_at >= '1970-01-01T00:00Z'
        and facts.occurred_at < '2100-01-01T00:00Z'
    order by facts.occurred_at, facts.event_id
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
        (
            held.profile_id, held.contact_id, held.amount, held.currency, held.reporting_amount,
            held.properties
        ) is distinct from (
            excluded.profile_id, excluded.contact_id, excluded.amount, excluded.currency,
            excluded.reporting_amount, excluded.properties
        )
    returning held.event_id
),

-- The refunds of an order whose person or liveness changed are written anew with it.
taken_along as (
    insert into unify_changed (entity, account, external_id)
    select
        'refunds' as entity,
        refunds.account,
        refunds.external_id
    from compared
    inner join mkt_core.refunds as refunds on compared.old_order_id = refunds.order_id
    where
        (compared.is_live, compared.profile_id)
        is distinct from (compared.was_live, compared.old_profile_id)
        and not exists (
            select 1 from unify_changed as changed
            where
                changed.entity = 'refunds'
                and changed.account = refunds.account
                and changed.external_id = refunds.external_id
        )
    returning external_id
),

moments as (
    select placed_at as occurred_at from compared
    union all
    select old_placed_at from compared
    union all
    select cancelled_at from compared
    union all
    select old_cancelled_at from compared
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
    -- whose lifecycle may turn
    array(
        select distinct people.contact_id
        from compared
        cross join
            lateral (
                values (compared.contact_id), (compared.old_contact_id)
            ) as people (contact_id)
        left join mkt_core.contacts as contacts on people.contact_id = contacts.contact_id
        where
            people.contact_id is not null
            and (
                contacts.contact_id is null
                or contacts.lifecycle = 'lead'
                or not compared.is_live
                or compared.contact_id is distinct from compared.old_contact_id
                and compared.old_order_id is not null
            )
    ) as contacts,
    (select count(*) from compared) as changes,
    (select count(*) from written) as events,
    (select count(*) from removed) as removed,
    (select count(*) from dirty) as days,
    (select count(*) from taken_along) as refunds;
