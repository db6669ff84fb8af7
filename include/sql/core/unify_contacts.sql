-- grain: one contact        key: contact_id
-- reads: mkt_core.{contact_identities,orders,time_zones,region_time_zones}, mkt_staging.contacts
-- params: contacts, field_priority, batch, timezone
-- writes: mkt_core.{contacts,contact_history}, mkt_ops.dirty_days
-- rerun: changes nothing
--
-- Each field comes from the best record that has it: not deleted, then by the sources' order, then
-- the newest. An address is taken whole from one record.

with records as (
    select
        members.contact_id,
        members.profile_id,
        members.is_deleted,
        members.first_seen_at,
        members.email,
        coalesce(records.phone, members.phone) as phone,
        records.first_name,
        records.last_name,
        records.country,
        records.region,
        records.city,
        records.postal_code,
        coalesce(records.country, records.region, records.city, records.postal_code) is not null
            as has_address,
        records.language,
        zones.time_zone,
        records.birth_date,
        coalesce(records.attributes, '{}') as attributes,
        records.updated_at,
        row_number() over (
            partition by members.contact_id
            order by
                members.is_deleted asc,
                array_position(%(field_priority)s::text[], members.system),
                records.updated_at desc nulls last,
                -- not profile_id: which record came in first must not matter
                members.first_seen_at asc,
                members.system asc,
                members.account asc,
                members.external_id asc
        ) as place
    from mkt_core.contact_identities as members
    -- `offset 0` keeps it apart: looked up by key in each system's view, whatever that view joins
    left join lateral (
        select found.* from mkt_staging.contacts as found
        where
            found.system = members.system
            and found.account = members.account
            and found.external_id = members.external_id
        offset 0 -- noqa: AM09
    ) as records on true
    left join mkt_core.time_zones as zones on lower(records.time_zone) = zones.lower_name
    where members.contact_id = any(%(contacts)s::bigint[])
),

picked as (
    select
        contact_id,
        bool_and(is_deleted) as is_deleted,
        min(first_seen_at) as created_at,
        max(updated_at) as updated_at,
        (array_agg(email order by place) filter (where email is not null))[1] as email,
        (array_agg(phone order by place) filter (where phone is not null))[1] as phone,
        (array_agg(first_name order by place) filter (where first_name is not null))[1]
            as first_name,
        (array_agg(last_name order by place) filter (where last_name is not null))[1] as last_name,
        (array_agg(country order by place) filter (where has_address))[1] as country,
        (array_agg(region order by place) filter (where has_address))[1] as region,
        (array_agg(city order by place) filter (where has_address))[1] as city,
        (array_agg(postal_code order by place) filter (where has_address))[1] as postal_code,
        (array_agg(language order by place) filter (where language is not null))[1] as language,
        (array_agg(time_zone order by place) filter (where time_zone is not null))[1] as time_zone,
        (array_agg(birth_date order by place) filter (where birth_date is not null))[1]
            as birth_date
    from records
    group by contact_id
),

-- of two values for one key the better record's is written last
attributes as (
    select
        records.contact_id,
        jsonb_object_agg(pairs.key, pairs.value order by records.place desc) as attributes
    from records
    cross join lateral jsonb_each(records.attributes) as pairs
    group by records.contact_id
),

observed as (
    select
        picked.contact_id,
        picked.email,
        picked.phone,
        picked.first_name,
        picked.last_name,
        picked.country,
        picked.region,
        picked.city,
        picked.postal_code,
        picked.language,
        coalesce(picked.time_zone, regions.time_zone, countries.time_zone) as time_zone,
        picked.birth_date,
        case when purchases.first_at is null then 'lead' else 'customer' end as lifecycle,
        picked.created_at,
        coalesce(attributes.attributes, '{}') as attributes,
        picked.is_deleted,
        coalesce(greatest(picked.updated_at, purchases.first_at), picked.created_at) as valid_from
    from picked
    left join attributes on picked.contact_id = attributes.contact_id
    left join mkt_core.region_time_zones as regions
        on
            picked.country = regions.country
            and upper(picked.region) = regions.region
            and regions.region <> ''
    left join mkt_core.region_time_zones as countries
        on picked.country = countries.country and countries.region = ''
    left join lateral (
        select orders.placed_at as first_at
        from mkt_core.orders as orders
        where
            orders.contact_id = picked.contact_id
            and not orders.is_test
            and not orders.is_deleted
        order by orders.placed_at
        limit 1
    ) as purchases on true
),

compared as materialized (
    select
        observed.*,
        md5(row(
            observed.country, observed.region, observed.city, observed.postal_code,
            observed.language, observed.time_zone, observed.birth_date, observed.lifecycle,
            observed.attributes, observed.is_deleted
        )::text) as row_hash,
        held.contact_id is null as is_new
    from observed
    left join mkt_core.contacts as held on observed.contact_id = held.contact_id
    where
        held.contact_id is null
        or (
            observed.email, observed.phone, observed.first_name, observed.last_name,
            observed.country, observed.region, observed.city, observed.postal_code,
            observed.language, observed.time_zone, observed.birth_date, observed.lifecycle,
            observed.created_at, observed.attributes, observed.is_deleted
        ) is distinct from (
            held.email, held.phone, held.first_name, held.last_name, held.country, held.region,
            held.city, held.postal_code, held.language, held.time_zone, held.birth_date,
            held.lifecycle, held.created_at, held.attributes, held.is_deleted
        )
),

stored as (
    insert into mkt_core.contacts (
        contact_id, email, phone, first_name, last_name, country, region, city, postal_code,
        language, time_zone, birth_date, lifecycle, created_at, attributes, is_deleted, batch
    )
    select
        contact_id,
        email,
        phone,
        first_name,
        last_name,
        country,
        region,
        city,
        postal_code,
        language,
        time_zone,
        birth_date,
        lifecycle,
        created_at,
        attributes,
        is_deleted,
        %(batch)s::bigint
    from compared
    order by contact_id
    on conflict (contact_id) do update
        set
            email = excluded.email,
            phone = excluded.phone,
            first_name = excluded.first_name,
            last_name = excluded.last_name,
            country = excluded.country,
            region = excluded.region,
            city = excluded.city,
            postal_code = excluded.postal_code,
            language = excluded.language,
            time_zone = excluded.time_zone,
            birth_date = excluded.birth_date,
            lifecycle = excluded.lifecycle,
            created_at = excluded.created_at,
            attributes = excluded.attributes,
            is_deleted = excluded.is_deleted,
            batch = excluded.batch
),

-- A version is never dated before the one it follows: the latest by (valid_from, batch) holds.
versions as (
    insert into mkt_core.contact_history (
        contact_id, valid_from, batch, row_hash, is_assumed, country, region, city, postal_code,
        language, time_zone, birth_date, lifecycle, attributes, is_deleted
    )
    select
        compared.contact_id,
        greatest(compared.valid_from, before.valid_from) as valid_from,
        %(batch)s::bigint,
        compared.row_hash,
        before.row_hash is null as is_assumed,
        compared.country,
        compared.region,
        compared.city,
        compared.postal_code,
        compared.language,
        compared.time_zone,
        compared.birth_date,
        compared.lifecycle,
        compared.attributes,
        compared.is_deleted
    from compared
    left join lateral (
        select
            history.row_hash,
            history.valid_from
        from mkt_core.contact_history as history
        where history.contact_id = compared.contact_id
        order by history.valid_from desc, history.batch desc
        limit 1
    ) as before on true
    where before.row_hash is distinct from compared.row_hash
    returning contact_id
),

dirty as (
    insert into mkt_ops.dirty_days (kpi_group, date, batch)
    select distinct
        'contacts' as kpi_group,
        (created_at at time zone %(timezone)s)::date,
        %(batch)s::bigint
    from compared
    on conflict (kpi_group, date) do update set batch = excluded.batch
    returning date
)

select
    (select count(*) from compared) as changes,
    (select count(*) from compared where is_new) as created,
    (select count(*) from versions) as versions,
    (select count(*) from dirty) as days;
