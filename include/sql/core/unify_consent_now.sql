-- grain: one contact, brand, channel and topic        key: all four
-- reads: mkt_core.consents        params: contacts
-- writes: mkt_core.consent_now
-- rerun: changes nothing
--
-- Each identity's latest word holds (a refusal wins at the same instant); of the identities of one
-- contact the strictest. A grant of one identity ends another's older refusal only if it came after
-- the two were known to be one person: a merge alone never makes anybody reachable.

with joined as (
    select
        members.contact_id,
        max(merged.batch) as batch
    from mkt_core.contact_identities as members
    inner join mkt_core.contact_merges as merged on members.profile_id = merged.from_contact_id
    where members.contact_id = any(%(contacts)s::bigint[]) and merged.undone_batch is null
    group by members.contact_id
),

latest as (
    select distinct on (profile_id, brand, channel, topic)
        contact_id,
        brand,
        channel,
        topic,
        status,
        changed_at,
        batch
    from mkt_core.consents
    where contact_id = any(%(contacts)s::bigint[])
    order by
        profile_id asc, brand asc, channel asc, topic asc, changed_at desc,
        array_position('{denied,pending,granted}'::text[], status)
),

strictest as materialized (
    select distinct on (contact_id, brand, channel, topic) *
    from latest
    where
        not exists (
            select 1
            from latest as granted
            inner join joined on granted.contact_id = joined.contact_id
            where
                granted.status = 'granted'
                and granted.contact_id = latest.contact_id
                and granted.brand = latest.brand
                and granted.channel = latest.channel
                and granted.topic = latest.topic
                and granted.changed_at > latest.changed_at
                and granted.batch > greatest(latest.batch, joined.batch)
        )
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
