-- grain: one change of consent        key: (profile_id, brand, channel, topic, changed_at, source)
-- reads: mkt_staging.consents        params: runs, brands, batch, timezone
-- writes: mkt_core.consents, mkt_core.events, mkt_engage.suppressions, mkt_ops.dirty_days
-- rerun: changes nothing
--
-- A row only where the source says something else than it said before, or grants again, dated by
-- itself, after another source's refusal. `none` is silence: it denies what was granted or pending,
-- and is nothing otherwise. An event only where the consent of the identity, or of its contact,
-- turned.

with told as materialized (
    select *
    from mkt_staging.consents
    where sync_run_id = any(%(runs)s::bigint[])
),

incoming as materialized (
    select
        records.*,
        coalesce(records.changed_at, records.updated_at) as observed_at,
        %(brands)s::jsonb ->> records.account as brand,
        known.profile_id,
        known.contact_id
    from told as records
    inner join mkt_core.contact_identities as known
        on
            records.system = known.system
            and records.account = known.account
            and records.external_id = known.external_id
),

compared as (
    select
        incoming.*,
        case incoming.status when 'none' then 'denied' else incoming.status end as new_status,
        -- A source's newer word is never dated before its older one.
        case
            when before.changed_at is null or incoming.observed_at > before.changed_at
                then incoming.observed_at
            else greatest(incoming.updated_at, before.changed_at + interval '1 microsecond')
        end as said_at,
        latest.status as latest_status,
        latest.changed_at as latest_at,
        held.status as held_status
    from incoming
    left join lateral (
        select
            consents.status,
            consents.changed_at
        from mkt_core.consents
        where
            consents.profile_id = incoming.profile_id
            and consents.brand = incoming.brand
            and consents.channel = incoming.channel
            and consents.topic = incoming.topic
            and consents.source = incoming.account
        order by consents.changed_at desc
        limit 1
    ) as before on true
    left join lateral (
        select
            consents.status,
            consents.changed_at
        from mkt_core.consents
        where
            consents.profile_id = incoming.profile_id
            and consents.brand = incoming.brand
            and consents.channel = incoming.channel
            and consents.topic = incoming.topic
        order by
            consents.changed_at desc,
            array_position('{denied,pending,granted}'::text[], consents.status)
        limit 1
    ) as latest on true
    left join mkt_core.consent_now as held
        on
            incoming.contact_id = held.contact_id
            and incoming.brand = held.brand
            and incoming.channel = held.channel
            and incoming.topic = held.topic
    where
        (
            incoming.status <> 'none'
            and incoming.status is distinct from before.status
            -- a record read before the refusal that the source's activity has told since
            and not coalesce(
                before.status = 'denied' and incoming.updated_at < before.changed_at, false
            )
        )
        or (incoming.status = 'none' and before.status in ('granted', 'pending'))
        or (
            incoming.status = 'granted'
            and held.status <> 'granted'
            and incoming.changed_at > greatest(held.changed_at, before.changed_at)
        )
),

stored as (
    insert into mkt_core.consents (
        profile_id, contact_id, brand, channel, topic, status, legal_basis, changed_at, source,
        batch
    )
    select
        profile_id,
        contact_id,
        brand,
        channel,
        topic,
        new_status,
        legal_basis,
        said_at,
        account,
        %(batch)s::bigint
    from compared
    on conflict do nothing
    returning contact_id, changed_at
),

turned as (
    select
        *,
        case new_status when 'granted' then 'subscribed' else 'unsubscribed' end as event_type
    from compared
    where
        new_status in ('granted', 'denied')
        and (new_status is distinct from latest_status or new_status <> held_status)
        and (
            latest_at is null
            or said_at > latest_at
            or (said_at = latest_at and new_status = 'denied')
        )
        and said_at >= '1970-01-01T00:00Z'
        and said_at < '2100-01-01T00:00Z'
),

written as (
    insert into mkt_core.events (
        event_id, occurred_at, profile_id, contact_id, event_type, key, source, batch, properties
    )
    select
        md5(concat_ws(
            ':', event_type, account, external_id, channel, topic, extract(epoch from said_at)
        ))::uuid as event_id,
        said_at,
        profile_id,
        contact_id,
        event_type,
        channel,
        account,
        %(batch)s::bigint,
        jsonb_build_object('brand', brand, 'channel', channel, 'topic', topic) as properties
    from turned
    on conflict do nothing
    returning occurred_at
),

-- Who subscribes again after unsubscribing may be written to again; complaints stay.
lifted as (
    update mkt_engage.suppressions as suppressions
    set lifted_at = turned.said_at
    from turned
    where
        turned.event_type = 'subscribed'
        and suppressions.contact_id = turned.contact_id
        and suppressions.brand = turned.brand
        and suppressions.channel = turned.channel
        and suppressions.reason = 'unsubscribed'
        and suppressions.lifted_at is null
        and suppressions.since < turned.said_at
    returning suppressions.suppression_id
),

dirty as (
    insert into mkt_ops.dirty_days (kpi_group, date, batch)
    select distinct
        'consents' as kpi_group,
        (changed_at at time zone %(timezone)s)::date,
        %(batch)s::bigint
    from stored
    on conflict (kpi_group, date) do update set batch = excluded.batch
    returning date
)

select
    array(select distinct contact_id from stored) as contacts,
    (select count(*) from stored) as changes,
    (select count(*) from written) as events,
    (select count(*) from lifted) as lifted,
    (select count(*) from dirty) as days;
