-- grain: one entry of one deal into one stage        key: (account, external_id)
-- reads: unify_changed, mkt_staging.deal_stages, mkt_core.deals
-- params: batch, timezone, reporting_currency
-- writes: mkt_core.deal_stage_events, mkt_core.events (deal_stage_changed), mkt_ops.dirty_days
-- rerun: changes nothing
--
-- The whole history of each touched deal, as its source shows it now. Its first stage is the one it
-- was created in: no change. A stage written twice in a row is entered once.

with deals as materialized (
    select held.*
    from unify_changed as changed
    inner join mkt_core.deals as held
        on changed.account = held.account and changed.external_id = held.external_id
    where changed.entity = 'deals'
),

history as (
    select
        deals.deal_id,
        records.external_id,
        records.stage_id,
        records.entered_at,
        lag(records.stage_id) over (
            partition by deals.deal_id order by records.entered_at, records.external_id
        ) as from_stage_id
    from deals
    inner join mkt_staging.deal_stages as records
        on deals.account = records.account and deals.external_id = records.deal_id
    where
        not records.is_deleted
        and records.stage_id is not null
        and records.entered_at is not null
),

entries as materialized (
    select
        history.external_id,
        history.stage_id,
        history.from_stage_id,
        history.entered_at,
        deals.system,
        deals.account,
        deals.brand,
        deals.deal_id,
        deals.external_id as deal_external_id,
        deals.profile_id,
        deals.contact_id,
        deals.company_id,
        deals.pipeline_id,
        deals.owner_id,
        deals.amount,
        deals.currency,
        not deals.is_deleted
        and deals.profile_id is not null
        and history.from_stage_id is not null as is_live,
        md5(concat_ws(':', 'deal_stage_changed', deals.account, history.external_id))::uuid
            as event_id
    from history
    inner join deals on history.deal_id = deals.deal_id
    where history.stage_id is distinct from history.from_stage_id
),

held as materialized (
    select known.*
    from deals
    inner join mkt_core.deal_stage_events as known on deals.deal_id = known.deal_id
),

vanished as (
    select held.*
    from held
    left join entries
        on held.account = entries.account and held.external_id = entries.external_id
    where entries.external_id is null
),

gone as (
    delete from mkt_core.deal_stage_events as known
    using vanished
    where known.account = vanished.account and known.external_id = vanished.external_id
    returning known.account, known.external_id, known.entered_at
),

compared as materialized (
    select
        entries.*,
        held.external_id is null as is_new,
        held.entered_at as old_entered_at
    from entries
    left join held on entries.account = held.account and entries.external_id = held.external_id
    where
        held.external_id is null
        or (
            entries.deal_id, entries.profile_id, entries.contact_id, entries.company_id,
            entries.stage_id, entries.from_stage_id, entries.entered_at
        ) is distinct from (
            held.deal_id, held.profile_id, held.contact_id, held.company_id, held.stage_id,
            held.from_stage_id, held.entered_at
        )
),

stored as (
    insert into mkt_core.deal_stage_events (
        system, account, external_id, deal_id, profile_id, contact_id, company_id, stage_id,
        from_stage_id, entered_at, batch
    )
    select
        system,
        account,
        external_id,
        deal_id,
        profile_id,
        contact_id,
        company_id,
        stage_id,
        from_stage_id,
        entered_at,
        %(batch)s::bigint
    from compared
    order by entered_at, account, external_id
    on conflict (account, external_id) do update
        set
            deal_id = excluded.deal_id,
            profile_id = excluded.profile_id,
            contact_id = excluded.contact_id,
            company_id = excluded.company_id,
            stage_id = excluded.stage_id,
            from_stage_id = excluded.from_stage_id,
            entered_at = excluded.entered_at,
            batch = excluded.batch
),

obsolete as (
    select
        event_id,
        entered_at as occurred_at
    from entries
    where not is_live
    union
    select
        event_id,
        old_entered_at as occurred_at
    from compared
    where old_entered_at <> entered_at
    union
    select
        md5(concat_ws(':', 'deal_stage_changed', account, external_id))::uuid as event_id,
        entered_at as occurred_at
    from gone
),

removed as (
    delete from mkt_core.events as events
    using obsolete
    where events.event_id = obsolete.event_id and events.occurred_at = obsolete.occurred_at
    returning events.occurred_at
),

written as (
    insert into mkt_core.events as events (
        event_id, occurred_at, profile_id, contact_id, event_type, key, amount, currency,
        reporting_amount, source, batch, properties
    )
    select
        event_id,
        entered_at,
        profile_id,
        contact_id,
        'deal_stage_changed' as event_type,
        stage_id,
        amount,
        currency,
        amount * case
            when currency = %(reporting_currency)s then 1
            else (
                select rates.rate
                from mkt_core.exchange_rates as rates
                where
                    rates.currency = entries.currency
                    and rates.date <= (entries.entered_at at time zone %(timezone)s)::date
                order by rates.date desc
                limit 1
            )
        end as reporting_amount,
        account,
        %(batch)s::bigint,
        jsonb_strip_nulls(jsonb_build_object(
            'brand', brand,
            'deal', deal_external_id,
            'from', from_stage_id,
            'to', stage_id,
            'pipeline', pipeline_id,
            'owner', owner_id,
            'company', company_id
        )) as properties
    from entries
    where
        is_live
        and entered_at >= '1970-01-01T00:00Z'
        and entered_at < '2100-01-01T00:00Z'
    order by entered_at, event_id
    on conflict (event_id, occurred_at) do update
        set
            profile_id = excluded.profile_id,
            contact_id = excluded.contact_id,
            key = excluded.key,
            amount = excluded.amount,
            currency = excluded.currency,
            reporting_amount = excluded.reporting_amount,
            batch = excluded.batch,
            properties = excluded.properties
        where
        (
            events.profile_id, events.contact_id, events.key, events.amount, events.currency,
            events.reporting_amount, events.properties
        ) is distinct from (
            excluded.profile_id, excluded.contact_id, excluded.key, excluded.amount,
            excluded.currency, excluded.reporting_amount, excluded.properties
        )
    returning events.occurred_at
),

dirty as (
    insert into mkt_ops.dirty_days (kpi_group, date, batch)
    select distinct
        'deals' as kpi_group,
        (occurred_at at time zone %(timezone)s)::date,
        %(batch)s::bigint
    from (
        select entered_at as occurred_at from compared
        union all
        select old_entered_at from compared
        union all
        select entered_at from gone
        union all
        select occurred_at from removed
        union all
        select occurred_at from written
    ) as moments
    where occurred_at is not null
    on conflict (kpi_group, date) do update set batch = excluded.batch
    returning date
)

select
    (select count(*) from compared) as changes,
    (select count(*) from written) as events,
    (select count(*) from removed) as removed,
    (select count(*) from dirty) as days;
