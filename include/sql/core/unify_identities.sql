-- grain: one identity        key: (system, account, external_id)
-- reads: unify_changed, mkt_staging.{contacts,consents,merges,orders,carts,deals,list_members,
--   email_events}        params: batch, runs, now
-- writes: mkt_core.contact_identities
-- rerun: changes nothing
--
-- A person's own record, or only their id (or a guest's address) on an order, cart, deal, list,
-- consent or e-mail event. The first such mention makes the identity, so that a fact never waits
-- for its person. A record that the vendor merged into another is there, as deleted.

with told as (
    select *
    from mkt_staging."merges"
    where sync_run_id = any(%(runs)s::bigint[])
),

merged as materialized (
    select
        told.system,
        told.account,
        told.external_id,
        told.into_external_id,
        coalesce(winners.created_at, %(now)s::timestamptz) as seen_at
    from told
    left join lateral (
        select found.* from mkt_staging.contacts as found
        where found.account = told.account and found.external_id = told.into_external_id
        offset 0 -- noqa: AM09
    ) as winners on true
),

own as materialized (
    select
        records.system,
        records.account,
        records.external_id,
        records.email,
        records.is_email_verified,
        records.phone,
        records.created_at as seen_at,
        records.is_deleted
    from unify_changed as changed
    -- `offset 0` keeps it apart: looked up by key in each system's view, whatever that view joins
    cross join
        lateral (
            select found.* from mkt_staging.contacts as found
            where found.account = changed.account and found.external_id = changed.external_id
            offset 0 -- noqa: AM09
        ) as records
    where changed.entity = 'contacts'
),

mentions as (
    select
        case when records.customer_id is null then 'email' else records.system end as system,
        case when records.customer_id is null then '' else records.account end as account,
        coalesce(records.customer_id, records.email) as external_id,
        min(records.placed_at) as seen_at,
        false as is_deleted
    from unify_changed as changed
    inner join mkt_staging.orders as records
        on changed.account = records.account and changed.external_id = records.external_id
    where changed.entity = 'orders' and coalesce(records.customer_id, records.email) is not null
    group by 1, 2, 3
    union all
    select
        case when records.customer_id is null then 'email' else records.system end as system,
        case when records.customer_id is null then '' else records.account end as account,
        coalesce(records.customer_id, records.email) as external_id,
        min(records.created_at) as seen_at,
        false as is_deleted
    from unify_changed as changed
    inner join mkt_staging.carts as records
        on changed.account = records.account and changed.external_id = records.external_id
    where changed.entity = 'carts' and coalesce(records.customer_id, records.email) is not null
    group by 1, 2, 3
    union all
    select
        records.system,
        records.account,
        records.contact_ids ->> 0 as external_id,
        min(coalesce(records.created_at, records.updated_at, %(now)s::timestamptz)) as seen_at,
        false as is_deleted
    from unify_changed as changed
    inner join mkt_staging.deals as records
        on changed.account = records.account and changed.external_id = records.external_id
    where changed.entity = 'deals' and records.contact_ids ->> 0 is not null
    group by 1, 2, 3
    union all
    select
        records.system,
        records.account,
        records.contact_id as external_id,
        min(coalesce(records.added_at, %(now)s::timestamptz)) as seen_at,
        false as is_deleted
    from mkt_staging.list_members as records
    where
        records.sync_run_id = any(%(runs)s::bigint[])
        and records.contact_id is not null
        and not records.is_deleted
    group by 1, 2, 3
    union all
    select
        case when records.contact_id is null then 'email' else records.system end as system,
        case when records.contact_id is null then '' else records.account end as account,
        coalesce(records.contact_id, records.email) as external_id,
        min(records.occurred_at) as seen_at,
        false as is_deleted
    from mkt_staging.email_events as records
    where
        records.sync_run_id = any(%(runs)s::bigint[])
        and coalesce(records.contact_id, records.email) is not null
        and records.occurred_at is not null
        and not records.is_deleted
        -- an address alone is that of the account's own record, if there is one
        and (
            records.contact_id is not null
            or not exists (
                select 1 from own
                where
                    own.email = records.email
                    and own.account = records.account
                    and own.system = records.system
            )
            and not exists (
                select 1 from mkt_core.contact_identities as known
                where
                    known.email = records.email
                    and known.account = records.account
                    and known.system = records.system
                    -- with another address from now on
                    and not exists (
                        select 1 from own
                        where
                            own.external_id = known.external_id
                            and own.account = known.account
                            and own.system = known.system
                    )
            )
        )
    group by 1, 2, 3
    union all
    -- most consents stand in the person's own record
    select
        records.system,
        records.account,
        records.external_id,
        min(coalesce(records.changed_at, records.updated_at, %(now)s::timestamptz)) as seen_at,
        false as is_deleted
    from mkt_staging.consents as records
    where
        records.sync_run_id = any(%(runs)s::bigint[])
        and records.status in ('granted', 'pending', 'denied')
        and not exists (
            select 1 from mkt_staging.contacts as own
            where own.account = records.account and own.external_id = records.external_id
        )
    group by 1, 2, 3
    union all
    select
        system,
        account,
        external_id,
        min(seen_at) as seen_at,
        true as is_deleted
    from merged
    group by 1, 2, 3
    union all
    select
        system,
        account,
        into_external_id,
        min(seen_at) as seen_at,
        false as is_deleted
    from merged
    group by 1, 2, 3
),

people as (
    select
        *,
        true as has_record
    from own
    union all
    select
        system,
        account,
        external_id,
        case when system = 'email' then external_id end as email,
        system = 'email' as is_email_verified,
        null as phone,
        seen_at,
        is_deleted,
        false as has_record
    from mentions
),

named as (
    select distinct on (system, account, external_id) *
    from people
    order by
        system asc, account asc, external_id asc, has_record desc, is_deleted desc, seen_at asc
),

compared as materialized (
    select
        known.profile_id,
        named.*
    from named
    left join mkt_core.contact_identities as known
        on
            named.system = known.system
            and named.account = known.account
            and named.external_id = known.external_id
    where
        known.profile_id is null
        or (
            named.has_record
            and (
                named.email, named.is_email_verified, named.phone, named.seen_at, named.is_deleted,
                named.has_record
            ) is distinct from (
                known.email, known.is_email_verified, known.phone, known.first_seen_at,
                known.is_deleted, known.has_record
            )
        )
        or (
            not named.has_record
            and not known.has_record
            and (named.seen_at < known.first_seen_at or (named.is_deleted and not known.is_deleted))
        )
),

numbered as (
    select
        nextval(pg_get_serial_sequence('mkt_core.contact_identities', 'profile_id')) as next_id,
        fresh.*
    from (
        select * from compared
        where profile_id is null
        order by seen_at, system, account, external_id
    ) as fresh
),

inserted as (
    insert into mkt_core.contact_identities (
        profile_id, system, account, external_id, contact_id, email, is_email_verified, phone,
        first_seen_at, is_deleted, has_record, batch
    ) overriding system value
    select
        next_id as profile_id,
        system,
        account,
        external_id,
        next_id as contact_id,
        email,
        is_email_verified,
        phone,
        seen_at,
        is_deleted,
        has_record,
        %(batch)s::bigint
    from numbered
    returning profile_id
),

updated as (
    update mkt_core.contact_identities as known
    set
        email = compared.email,
        is_email_verified = compared.is_email_verified,
        phone = compared.phone,
        first_seen_at = case
            when compared.has_record then compared.seen_at
            else least(compared.seen_at, known.first_seen_at)
        end,
        is_deleted = compared.is_deleted or (known.is_deleted and not compared.has_record),
        has_record = compared.has_record,
        batch = %(batch)s::bigint
    from compared
    where known.profile_id = compared.profile_id
    returning known.profile_id
),

-- A record may change in a field that is no key: its contact is computed anew all the same.
observed as (
    select known.profile_id
    from own as records
    inner join mkt_core.contact_identities as known
        on
            records.system = known.system
            and records.account = known.account
            and records.external_id = known.external_id
)

select
    array(select profile_id from inserted) as inserted,
    array(select profile_id from updated) as updated,
    array(select profile_id from observed) as observed;
