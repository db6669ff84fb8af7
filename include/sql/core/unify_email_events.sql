-- grain: one thing that became of one vendor's mail        key: (account, external_id)
-- reads: mkt_staging.email_events, mkt_core.{contact_identities,consents}
-- params: runs, brands, batch, timezone
-- writes: mkt_core.{events,consents}, mkt_engage.suppressions, mkt_ops.dirty_days
-- rerun: changes nothing
--
-- Read once by run: a vendor's report has no index by our ids. An unsubscription is a refusal, as
-- the consents of the same account say too: whichever comes first makes the consent and its event.
-- A complaint suppresses the person for every brand.

with incoming as materialized (
    select
        records.account,
        %(brands)s::jsonb ->> records.account as brand,
        records.external_id,
        records.event_type,
        records.occurred_at,
        records.campaign,
        records.url,
        coalesce(records.is_machine, false) as is_machine,
        coalesce(records.properties, '{}') as details,
        coalesce(named.profile_id, addressed.profile_id, strangers.profile_id) as profile_id,
        coalesce(named.contact_id, addressed.contact_id, strangers.contact_id) as contact_id,
        md5(concat_ws(':', 'email_event', records.account, records.external_id))::uuid as event_id,
        not records.is_deleted
        and coalesce(named.profile_id, addressed.profile_id, strangers.profile_id) is not null
        and records.occurred_at >= '1970-01-01T00:00Z'
        and records.occurred_at < '2100-01-01T00:00Z' as is_live
    from mkt_staging.email_events as records
    left join mkt_core.contact_identities as named
        on
            records.system = named.system
            and records.account = named.account
            and records.contact_id = named.external_id
    -- an address alone is that of the account's own record, if there is one
    left join lateral (
        select
            holders.profile_id,
            holders.contact_id
        from mkt_core.contact_identities as holders
        where
            records.contact_id is null
            and holders.email = records.email
            and holders.account = records.account
            and holders.system = records.system
        order by holders.is_deleted, holders.external_id
        limit 1
    ) as addressed on true
    left join mkt_core.contact_identities as strangers
        on
            strangers.system = 'email'
            and strangers.account = ''
            and records.contact_id is null
            and records.email = strangers.external_id
    where
        records.sync_run_id = any(%(runs)s::bigint[])
        and records.event_type in (
            'email_sent', 'email_delivered', 'email_opened', 'email_clicked', 'email_bounced',
            'unsubscribed', 'complained'
        )
),

removed as (
    delete from mkt_core.events as events
    using incoming
    where
        events.event_id = incoming.event_id
        and (not coalesce(incoming.is_live, false) or events.occurred_at <> incoming.occurred_at)
    returning events.occurred_at
),

-- Of a person's unsubscriptions only the last, and only if it is the account's latest word.
refusals as materialized (
    select
        newest.*,
        latest.changed_at is null
        or (latest.status <> 'denied' and latest.changed_at < newest.occurred_at) as is_turn
    from (
        select distinct on (profile_id, topic) *
        from (
            select
                incoming.*,
                coalesce(incoming.details ->> 'topic', 'marketing') as topic
            from incoming
            where incoming.event_type = 'unsubscribed' and incoming.is_live
        ) as told
        order by profile_id asc, topic asc, occurred_at desc, external_id asc
    ) as newest
    left join lateral (
        select
            consents.status,
            consents.changed_at
        from mkt_core.consents
        where
            consents.profile_id = newest.profile_id
            and consents.brand = newest.brand
            and consents.channel = 'email'
            and consents.topic = newest.topic
            and consents.source = newest.account
        order by consents.changed_at desc
        limit 1
    ) as before on true
    left join lateral (
        select
            consents.status,
            consents.changed_at
        from mkt_core.consents
        where
            consents.profile_id = newest.profile_id
            and consents.brand = newest.brand
            and consents.channel = 'email'
            and consents.topic = newest.topic
        order by
            consents.changed_at desc,
            array_position('{denied,pending,granted}'::text[], consents.status)
        limit 1
    ) as latest on true
    where
        before.changed_at is null
        or (before.status <> 'denied' and before.changed_at < newest.occurred_at)
),

refused as (
    insert into mkt_core.consents (
        profile_id, contact_id, brand, channel, topic, status, legal_basis, changed_at, source,
        batch
    )
    select
        profile_id,
        contact_id,
        brand,
        'email' as channel,
        topic,
        'denied' as status,
        'consent' as legal_basis,
        occurred_at,
        account,
        %(batch)s::bigint
    from refusals
    on conflict do nothing
    returning contact_id, changed_at
),

suppressed as (
    insert into mkt_engage.suppressions (contact_id, channel, reason, source, since)
    select
        incoming.contact_id,
        'email' as channel,
        'complaint' as reason,
        incoming.account,
        min(incoming.occurred_at) as since
    from incoming
    where
        incoming.event_type = 'complained'
        and incoming.is_live
        -- lifted by somebody: not again for the same complaint
        and not exists (
            select 1 from mkt_engage.suppressions as held
            where
                held.contact_id = incoming.contact_id
                and held.reason = 'complaint'
                and held.source = incoming.account
                and held.since >= incoming.occurred_at
        )
    group by incoming.contact_id, incoming.account
    on conflict do nothing
),

facts as (
    select
        event_id,
        occurred_at,
        profile_id,
        contact_id,
        event_type,
        campaign as key,
        account,
        is_machine,
        details || jsonb_strip_nulls(jsonb_build_object(
            'brand', brand, 'channel', 'email', 'campaign', campaign, 'url', url
        )) as properties
    from incoming
    where is_live and event_type <> 'unsubscribed'
    union all
    select
        event_id,
        occurred_at,
        profile_id,
        contact_id,
        event_type,
        'email' as key,
        account,
        false as is_machine,
        details || jsonb_strip_nulls(jsonb_build_object(
            'brand', brand, 'channel', 'email', 'topic', topic, 'campaign', campaign
        )) as properties
    from refusals
    where is_turn
),

written as (
    insert into mkt_core.events as held (
        event_id, occurred_at, profile_id, contact_id, event_type, key, source, batch, is_machine,
        properties
    )
    select
        event_id,
        occurred_at,
        profile_id,
        contact_id,
        event_type,
        key,
        account,
        %(batch)s::bigint,
        is_machine,
        properties
    from facts
    order by occurred_at, event_id
    on conflict (event_id, occurred_at) do update
        set
            profile_id = excluded.profile_id,
            contact_id = excluded.contact_id,
            event_type = excluded.event_type,
            key = excluded.key,
            batch = excluded.batch,
            is_machine = excluded.is_machine,
            properties = excluded.properties
        where
        (
            held.profile_id, held.contact_id, held.event_type, held.key, held.is_machine,
            held.properties
        ) is distinct from (
            excluded.profile_id, excluded.contact_id, excluded.event_type, excluded.key,
            excluded.is_machine, excluded.properties
        )
    returning held.event_type, held.occurred_at
),

dirty as (
    insert into mkt_ops.dirty_days (kpi_group, date, batch)
    select distinct
        kpi_group,
        (occurred_at at time zone %(timezone)s)::date,
        %(batch)s::bigint
    from (
        select
            'email' as kpi_group,
            occurred_at
        from removed
        union all
        select
            'email' as kpi_group,
            occurred_at
        from written
        union all
        select
            'consents' as kpi_group,
            changed_at as occurred_at
        from refused
    ) as moments
    on conflict (kpi_group, date) do update set batch = excluded.batch
    returning date
)

select
    array(select distinct contact_id from refused) as contacts,
    (select count(*) from written) as changes,
    (select count(*) from written) as events,
    (select count(*) from removed) as removed,
    (select count(*) from refused) as refused,
    (select count(*) from dirty) as days;
