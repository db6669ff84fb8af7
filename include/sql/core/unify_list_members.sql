-- grain: one identity on one list        key: (account, external_id)
-- reads: mkt_staging.list_members, mkt_core.contact_identities
-- params: runs, brands, batch, now
-- writes: mkt_core.list_members, mkt_core.events (list_joined, list_left)
-- rerun: changes nothing
--
-- No vendor says when somebody left: it is when we learn it. Where a touched person's memberships
-- stand in one record, a membership that this record no longer shows has ended too.

with incoming as materialized (
    select
        records.system,
        records.account,
        records.external_id,
        records.list_id,
        records.contact_id as person_id,
        records.added_at,
        records.is_deleted,
        known.profile_id,
        known.contact_id
    from mkt_staging.list_members as records
    inner join mkt_core.contact_identities as known
        on
            records.system = known.system
            and records.account = known.account
            and records.contact_id = known.external_id
    where records.sync_run_id = any(%(runs)s::bigint[]) and records.list_id is not null
),

people as (
    select distinct
        account,
        person_id,
        profile_id,
        contact_id
    from incoming
),

shown as (
    select
        incoming.system,
        incoming.account,
        incoming.external_id,
        incoming.list_id,
        incoming.added_at,
        incoming.is_deleted,
        incoming.profile_id,
        incoming.contact_id
    from incoming
    union all
    select
        held.system,
        held.account,
        held.external_id,
        held.list_id,
        held.added_at,
        true as is_deleted,
        held.profile_id,
        held.contact_id
    from people
    inner join mkt_core.list_members as held
        on
            people.contact_id = held.contact_id
            and people.profile_id = held.profile_id
            and people.account = held.account
    where
        not held.is_deleted
        and not exists (
            select 1 from mkt_staging.list_members as records
            where
                records.account = held.account
                and records.contact_id = people.person_id
                and records.external_id = held.external_id
        )
),

dated as (
    select
        shown.*,
        held.external_id is null as is_new,
        held.list_id as old_list_id,
        held.profile_id as old_profile_id,
        held.contact_id as old_contact_id,
        held.added_at as old_added_at,
        held.left_at as old_left_at,
        case
            when shown.is_deleted then held.added_at
            when shown.added_at is not null then shown.added_at
            when held.is_deleted is false then held.added_at
            else %(now)s::timestamptz
        end as since,
        case when shown.is_deleted then coalesce(held.left_at, %(now)s::timestamptz) end as left_at
    from shown
    left join mkt_core.list_members as held
        on shown.account = held.account and shown.external_id = held.external_id
),

compared as materialized (
    select
        *,
        %(brands)s::jsonb ->> account as brand
    from dated
    where
        (is_new and not is_deleted)
        or (
            not is_new
            and (list_id, profile_id, contact_id, since, left_at) is distinct from (
                old_list_id, old_profile_id, old_contact_id, old_added_at, old_left_at
            )
        )
),

stored as (
    insert into mkt_core.list_members (
        system, account, external_id, list_id, profile_id, contact_id, added_at, left_at,
        is_deleted, batch
    )
    select
        system,
        account,
        external_id,
        list_id,
        profile_id,
        contact_id,
        since,
        left_at,
        is_deleted,
        %(batch)s::bigint
    from compared
    order by account, external_id
    on conflict (account, external_id) do update
        set
            list_id = excluded.list_id,
            profile_id = excluded.profile_id,
            contact_id = excluded.contact_id,
            added_at = excluded.added_at,
            left_at = excluded.left_at,
            is_deleted = excluded.is_deleted,
            batch = excluded.batch
),

facts as materialized (
    select
        compared.*,
        moments.event_type,
        moments.occurred_at,
        moments.old_occurred_at,
        md5(concat_ws(
            ':', moments.event_type, compared.account, compared.external_id,
            extract(epoch from coalesce(moments.occurred_at, moments.old_occurred_at))
        ))::uuid as event_id
    from compared
    cross join
        lateral (
            values
            (
                'list_joined',
                compared.since,
                -- an earlier stay that ended is no mistake
                case
                    when compared.old_left_at is null and compared.old_added_at <> compared.since
                        then compared.old_added_at
                end
            ),
            (
                'list_left',
                compared.left_at,
                -- back since the same day as before: it never left
                case
                    when not compared.is_deleted and compared.old_added_at = compared.since
                        then compared.old_left_at
                end
            )
        ) as moments (event_type, occurred_at, old_occurred_at)
),

removed as (
    delete from mkt_core.events as events
    using facts
    where
        facts.old_occurred_at is not null
        and events.event_id = md5(concat_ws(
            ':', facts.event_type, facts.account, facts.external_id,
            extract(epoch from facts.old_occurred_at)
        ))::uuid
        and events.occurred_at = facts.old_occurred_at
    returning events.event_id
),

written as (
    insert into mkt_core.events as held (
        event_id, occurred_at, profile_id, contact_id, event_type, key, source, batch, properties
    )
    select
        event_id,
        occurred_at,
        profile_id,
        contact_id,
        event_type,
        list_id,
        account,
        %(batch)s::bigint,
        jsonb_build_object('brand', brand) as properties
    from facts
    where occurred_at >= '1970-01-01T00:00Z' and occurred_at < '2100-01-01T00:00Z'
    order by occurred_at, event_id
    on conflict (event_id, occurred_at) do update
        set
            profile_id = excluded.profile_id,
            contact_id = excluded.contact_id,
            key = excluded.key,
            batch = excluded.batch,
            properties = excluded.properties
        where
        (held.profile_id, held.contact_id, held.key, held.properties)
        is distinct from (
            excluded.profile_id, excluded.contact_id, excluded.key, excluded.properties
        )
    returning held.event_id
)

select
    (select count(*) from compared) as changes,
    (select count(*) from written) as events,
    (select count(*) from removed) as removed;
