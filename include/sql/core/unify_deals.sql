-- grain: one deal        key: (account, external_id)
-- reads: unify_changed, mkt_staging.{deals,deal_stages}, mkt_core.pipeline_stages
-- params: brands, batch, timezone, reporting_currency
-- writes: mkt_core.deals, mkt_core.events (deal_created, deal_won, deal_lost), mkt_ops.dirty_days
-- rerun: changes nothing
--
-- A deal is won or lost while it stands in a stage that says so, since it entered it; moved back,
-- it is open again and that event goes. A deleted deal, or one without a contact, has no events.

with incoming as materialized (
    select
        records.*,
        %(brands)s::jsonb ->> records.account as brand,
        known.profile_id,
        known.contact_id,
        case when stages.is_won then 'won' when stages.is_closed then 'lost' else 'open' end
            as status,
        case
            when stages.is_won or stages.is_closed
                then
                    coalesce(
                        entries.entered_at,
                        records.closed_at,
                        records.updated_at,
                        records.created_at
                    )
        end as decided_at
    from unify_changed as changed
    inner join mkt_staging.deals as records
        on changed.account = records.account and changed.external_id = records.external_id
    left join mkt_core.contact_identities as known
        on
            records.system = known.system
            and records.account = known.account
            and records.contact_ids ->> 0 = known.external_id
    left join mkt_core.pipeline_stages as stages
        on records.account = stages.account and records.stage_id = stages.external_id
    left join lateral (
        select max(history.entered_at) as entered_at
        from mkt_staging.deal_stages as history
        where
            history.account = records.account
            and history.deal_id = records.external_id
            and history.stage_id = records.stage_id
            and not history.is_deleted
    ) as entries on true
    where changed.entity = 'deals'
),

compared as materialized (
    select
        incoming.*,
        held.deal_id is null as is_new,
        held.created_at as old_created_at,
        held.decided_at as old_decided_at,
        held.status as old_status,
        not incoming.is_deleted and incoming.profile_id is not null as is_live
    from incoming
    left join mkt_core.deals as held
        on incoming.account = held.account and incoming.external_id = held.external_id
    where
        held.deal_id is null
        or (
            incoming.brand, incoming.profile_id, incoming.contact_id, incoming.company_id,
            incoming.owner_id, incoming.name, incoming.pipeline_id, incoming.stage_id,
            incoming.status, incoming.amount, incoming.currency, incoming.lost_reason,
            incoming.created_at, incoming.closed_at, incoming.decided_at, incoming.updated_at,
            incoming.is_deleted
        ) is distinct from (
            held.brand, held.profile_id, held.contact_id, held.company_id, held.owner_id,
            held.name, held.pipeline_id, held.stage_id, held.status, held.amount, held.currency,
            held.lost_reason, held.created_at, held.closed_at, held.decided_at, held.updated_at,
            held.is_deleted
        )
),

stored as (
    insert into mkt_core.deals (
        system, account, brand, external_id, profile_id, contact_id, company_id, owner_id, name,
        pipeline_id, stage_id, status, amount, currency, lost_reason, created_at, closed_at,
        decided_at, updated_at, is_deleted, batch
    )
    select
        system,
        account,
        brand,
        external_id,
        profile_id,
        contact_id,
        company_id,
        owner_id,
        name,
        pipeline_id,
        stage_id,
        status,
        amount,
        currency,
        lost_reason,
        created_at,
        closed_at,
        decided_at,
        updated_at,
        is_deleted,
        %(batch)s::bigint
    from compared
    order by created_at, account, external_id
    on conflict (account, external_id) do update
        set
            brand = excluded.brand,
            profile_id = excluded.profile_id,
            contact_id = excluded.contact_id,
            company_id = excluded.company_id,
            owner_id = excluded.owner_id,
            name = excluded.name,
            pipeline_id = excluded.pipeline_id,
            stage_id = excluded.stage_id,
            status = excluded.status,
            amount = excluded.amount,
            currency = excluded.currency,
            lost_reason = excluded.lost_reason,
            created_at = excluded.created_at,
            closed_at = excluded.closed_at,
            decided_at = excluded.decided_at,
            updated_at = excluded.updated_at,
            is_deleted = excluded.is_deleted,
            batch = excluded.batch
),

facts as materialized (
    select
        compared.*,
        outcomes.event_type,
        md5(concat_ws(':', outcomes.event_type, compared.account, compared.external_id))::uuid
            as event_id,
        outcomes.occurred_at,
        outcomes.old_occurred_at,
        jsonb_strip_nulls(jsonb_build_object(
            'brand', compared.brand,
            'pipeline', compared.pipeline_id,
            'stage', case when outcomes.event_type <> 'deal_created' then compared.stage_id end,
            'owner', compared.owner_id,
            'company', compared.company_id,
            'reason',
            case when outcomes.event_type = 'deal_lost' then compared.lost_reason end
        )) as properties
    from compared
    cross join
        lateral (
            values
            ('deal_created', compared.created_at, compared.old_created_at),
            (
                'deal_won',
                case when compared.status = 'won' then compared.decided_at end,
                case when compared.old_status = 'won' then compared.old_decided_at end
            ),
            (
                'deal_lost',
                case when compared.status = 'lost' then compared.decided_at end,
                case when compared.old_status = 'lost' then compared.old_decided_at end
            )
        ) as outcomes (event_type, occurred_at, old_occurred_at)
    where outcomes.occurred_at is not null or outcomes.old_occurred_at is not null
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
        reporting_amount, source, batch, properties
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
        facts.account,
        %(batch)s::bigint,
        facts.properties
    from facts
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

dirty as (
    insert into mkt_ops.dirty_days (kpi_group, date, batch)
    select distinct
        'deals' as kpi_group,
        (moments.occurred_at at time zone %(timezone)s)::date,
        %(batch)s::bigint
    from facts
    cross join
        lateral (values (facts.occurred_at), (facts.old_occurred_at)) as moments (occurred_at)
    where moments.occurred_at is not null
    on conflict (kpi_group, date) do update set batch = excluded.batch
    returning date
)

select
    (select count(*) from compared) as changes,
    (select count(*) from written) as events,
    (select count(*) from removed) as removed,
    (select count(*) from dirty) as days;
