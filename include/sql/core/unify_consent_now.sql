-- grain: one contact, brand, channel and topic        key: all four
-- reads: mkt_core.consents        params: contacts
-- writes: mkt_core.consent_now
-- rerun: changes nothing
--
-- Each identity's latest word holds (a refusal wins at the same instant); of the identities of one
-- contact the strictest word holds.

with latest as (
    select distinct on (profile_id, brand, channel, topic)
        contact_id,
        brand,
        channel,
        topic,
        status,
        changed_at
    from mkt_core.consents
    where contact_id = any(%(contacts)s::bigint[])
    order by
        profile_id asc, brand asc, channel asc, topic asc, changed_at desc,
        array_position('{denied,pending,granted}'::text[], status)
),

strictest as materialized (
    select distinct on (contact_id, brand, channel, topic) *
    from latest
    order by
        contact_id asc, brand asc, channel asc, topic asc,
        array_position('{denied,pending,granted}'::text[], status), changed_at desc
),

gone as (
    delete from mkt_core.consent_now as held
    where
        held.contact_id = any(%(contacts)s::bigint[])
        and not exists (
            select 1 from strictest
            where
                strictest.contact_id = held.contact_id
                and strictest.brand = held.brand
                and strictest.channel = held.channel
                and strictest.topic = held.topic
        )
    returning held.contact_id
),

stored as (
    insert into mkt_core.consent_now as held (
        contact_id, brand, channel, topic, status, changed_at
    )
    select
        contact_id,
        brand,
        channel,
        topic,
        status,
        changed_at
    from strictest
    on conflict (contact_id, brand, channel, topic) do update
        set status = excluded.status, changed_at = excluded.changed_at
        where (held.status, held.changed_at) is distinct from (excluded.status, excluded.changed_at)
    returning held.contact_id
)

select
    (select count(*) from stored) as stored,
    (select count(*) from gone) as gone;
