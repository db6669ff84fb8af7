-- grain: one cart of one shop account        key: (account, external_id)
-- reads: unify_changed, mkt_staging.carts
-- params: brands, batch, timezone, reporting_currency
-- writes: mkt_core.carts, mkt_core.events (cart_updated), mkt_ops.dirty_days
-- rerun: changes nothing
--
-- One event per observed version of an open cart. Completing a cart is an order, not an update.

with compared as materialized (
    select
        records.*,
        %(brands)s::jsonb ->> records.account as brand,
        known.profile_id,
        known.contact_id,
        held.created_at as old_created_at,
        held.updated_at as old_updated_at,
        held.completed_at as old_completed_at
    from unify_changed as changed
    inner join mkt_staging.carts as records
        on changed.account = records.account and changed.external_id = records.external_id
    left join mkt_core.contact_identities as known
        on
            known.system
            = case when records.customer_id is null then 'email' else records.system end
            and known.account
            = case when records.customer_id is null then '' else records.account end
            and known.external_id = coalesce(records.customer_id, records.email)
    left join mkt_core.carts as held
        on records.account = held.account and records.external_id = held.external_id
    where
        changed.entity = 'carts'
        and (
            held.cart_id is null
            or (
                known.profile_id, known.contact_id, records.created_at, records.updated_at,
                records.completed_at, records.currency, records.amount, records.lines, records.url,
                records.is_deleted
            ) is distinct from (
                held.profile_id, held.contact_id, held.created_at, held.updated_at,
                held.completed_at, held.currency, held.amount, held.lines, held.url,
                held.is_deleted
            )
        )
),

stored as (
    insert into mkt_core.carts (
        system, account, brand, external_id, profile_id, contact_id, created_at, updated_at,
        completed_at, currency, amount, lines, url, is_deleted, batch
    )
    select
        system,
        account,
        brand,
        external_id,
        profile_id,
        contact_id,
        created_at,
        updated_at,
        completed_at,
        currency,
        amount,
        lines,
        url,
        is_deleted,
        %(batch)s::bigint
    from compared
    order by created_at, account, external_id
    on conflict (account, external_id) do update
        set
            brand = excluded.brand,
            profile_id = excluded.profile_id,
            contact_id = excluded.contact_id,
            created_at = excluded.created_at,
            updated_at = excluded.updated_at,
            completed_at = excluded.completed_at,
            currency = excluded.currency,
            amount = excluded.amount,
            lines = excluded.lines,
            url = excluded.url,
            is_deleted = excluded.is_deleted,
            batch = excluded.batch
    returning cart_id, account, external_id
),

written as (
    insert into mkt_core.events as held (
        event_id, occurred_at, profile_id, contact_id, event_type, key, amount, currency,
        reporting_amount, cart_id, source, batch, properties
    )
    select
        md5(concat_ws(
            ':', 'cart_updated', compared.account, compared.external_id,
            extract(epoch from compared.updated_at)
        ))::uuid as event_id,
        compared.updated_at,
        compared.profile_id,
        compared.contact_id,
        'cart_updated' as event_type,
        compared.external_id,
        compared.amount,
        compared.currency,
        compared.amount * case
            when compared.currency = %(reporting_currency)s then 1
            else (
                select rates.rate
                from mkt_core.exchange_rates as rates
                where
                    rates.currency = compared.currency
                    and rates.date <= (compared.updated_at at time zone %(timezone)s)::date
                order by rates.date desc
                limit 1
            )
        end as reporting_amount,
        stored.cart_id,
        compared.account,
        %(batch)s::bigint,
        jsonb_strip_nulls(jsonb_build_object(
            'brand', compared.brand,
            'cart_value', compared.amount,
            'line_count',
            case jsonb_typeof(compared.lines)
                when 'array' then jsonb_array_length(compared.lines)
            end
        )) as properties
    from compared
    inner join stored
        on compared.account = stored.account and compared.external_id = stored.external_id
    where
        compared.completed_at is null
        and not compared.is_deleted
        and compared.profile_id is not null
        and compared.updated_at >= '1970-01-01T00:00Z'
        and compared.updated_at < '2100-01-01T00:00Z'
    order by compared.updated_at, compared.external_id
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

moments as (
    select created_at as occurred_at from compared
    union all
    select updated_at from compared
    union all
    select completed_at from compared
    union all
    select old_created_at from compared
    union all
    select old_updated_at from compared
    union all
    select old_completed_at from compared
),

dirty as (
    insert into mkt_ops.dirty_days (kpi_group, date, batch)
    select distinct
        'carts' as kpi_group,
        (occurred_at at time zone %(timezone)s)::date,
        %(batch)s::bigint
    from moments
    where occurred_at is not null
    on conflict (kpi_group, date) do update set batch = excluded.batch
    returning date
)

select
    (select count(*) from compared) as changes,
    (select count(*) from written) as events,
    (select count(*) from dirty) as days;
