-- grain: one HubSpot contact; one id that was merged away         key: (account, external_id)
-- reads: mkt_raw.hubspot__contacts
-- rerun: replaces the views, which hold no data

create or replace view mkt_staging.hubspot__contacts as
select
    'hubspot'::text as system,
    contacts.account,
    contacts.id as external_id,
    nullif(lower(trim(contacts.email)), '') as email,
    -- HubSpot itself takes the address for the person: one contact, one address.
    true as is_email_verified,
    case
        when regexp_replace(contacts.phone, '[\s().-]', '', 'g') ~ '^\+[1-9]\d{6,14}$'
            then regexp_replace(contacts.phone, '[\s().-]', '', 'g')
    end as phone,
    nullif(trim(contacts.first_name), '') as first_name,
    nullif(trim(contacts.last_name), '') as last_name,
    -- free text: only a code is a country everywhere
    case
        when trim(contacts.country) ~ '^[A-Za-z]{2}$' then upper(trim(contacts.country))
    end as country,
    nullif(trim(contacts.region), '') as region,
    nullif(trim(contacts.city), '') as city,
    nullif(trim(contacts.postal_code), '') as postal_code,
    nullif(lower(split_part(replace(contacts.language, '_', '-'), '-', 1)), '') as language,
    -- America/New_York is written america_slash_new_york
    nullif(replace(trim(contacts.time_zone), '_slash_', '/'), '') as time_zone,
    mkt_staging.date_or_null(left(contacts.birth_date, 10)) as birth_date,
    coalesce(
        (
            select
                jsonb_object_agg(
                    lower(fields.name), mkt_staging.json_value(trim(fields.value))
                    order by fields.name
                )
            from jsonb_each_text(contacts.extra) as fields (name, value)
            where trim(fields.value) <> ''
        ),
        '{}'
    )
    || jsonb_strip_nulls(
        jsonb_build_object(
            'company', contacts.company,
            'job_title', contacts.job_title,
            'lifecycle_stage', contacts.lifecycle_stage,
            'lead_status', contacts.lead_status,
            'origin', contacts.origin,
            'owner_id', contacts.owner_id
        )
    ) as attributes,
    coalesce(contacts.created_at, contacts.updated_at, contacts.loaded_at) as created_at,
    coalesce(contacts.source_updated_at, contacts.updated_at, contacts.loaded_at) as updated_at,
    contacts.is_deleted,
    contacts.sync_run_id
from mkt_raw.hubspot__contacts as contacts;

-- Merging makes a record of a new id that names all ids it was made of.
create or replace view mkt_staging.hubspot__merges as
select distinct
    'hubspot'::text as system,
    contacts.account,
    trim(merged.id) as external_id,
    contacts.id as into_external_id,
    contacts.sync_run_id
from mkt_raw.hubspot__contacts as contacts
cross join lateral string_to_table(contacts.merged_ids, ';') as merged (id)
where
    not contacts.is_deleted
    and trim(merged.id) not in ('', contacts.id);
