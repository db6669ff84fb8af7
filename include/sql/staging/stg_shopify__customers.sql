-- grain: one shop customer; one customer and channel        key: (account, external_id)
-- reads: mkt_raw.shopify__customers
-- rerun: replaces the views, which hold no data

create or replace view mkt_staging.shopify__contacts as
select
    'shopify'::text as system,
    customers.account,
    customers.id as external_id,
    -- The shop sends its own mails there and lets nobody else take it: it counts as verified.
    nullif(lower(trim(customers.email)), '') as email,
    true as is_email_verified,
    case
        when regexp_replace(customers.phone, '[\s().-]', '', 'g') ~ '^\+[1-9]\d{6,14}$'
            then regexp_replace(customers.phone, '[\s().-]', '', 'g')
    end as phone,
    nullif(trim(customers.first_name), '') as first_name,
    nullif(trim(customers.last_name), '') as last_name,
    upper(nullif(trim(customers.country_code), '')) as country,
    nullif(trim(customers.region), '') as region,
    nullif(trim(customers.city), '') as city,
    nullif(trim(customers.postal_code), '') as postal_code,
    nullif(lower(split_part(replace(customers.locale, '_', '-'), '-', 1)), '') as language,
    mkt_staging.tag_value(customers.tags, 'timezone') as time_zone,
    mkt_staging.date_or_null(mkt_staging.tag_value(customers.tags, 'birthday')) as birth_date,
    mkt_staging.tag_attributes(customers.tags) - '{timezone,birthday}'::text[] as attributes,
    coalesce(customers.created_at, customers.updated_at, customers.loaded_at) as created_at,
    coalesce(customers.source_updated_at, customers.updated_at, customers.loaded_at) as updated_at,
    customers.is_deleted,
    customers.sync_run_id
from mkt_raw.shopify__customers as customers;

create or replace view mkt_staging.shopify__consents as
select
    'shopify'::text as system,
    customers.account,
    customers.id as external_id,
    'email'::text as channel,
    'marketing'::text as topic,
    -- null: the shop says nothing
    case
        when upper(customers.email_marketing_state) = 'SUBSCRIBED' then 'granted'
        when upper(customers.email_marketing_state) = 'PENDING' then 'pending'
        when upper(customers.email_marketing_state) = 'NOT_SUBSCRIBED' then 'none'
        when customers.email_marketing_state is not null then 'denied'
    end as status,
    'consent'::text as legal_basis,
    customers.email_consent_updated_at as changed_at,
    coalesce(customers.source_updated_at, customers.updated_at, customers.loaded_at) as updated_at,
    customers.sync_run_id
from mkt_raw.shopify__customers as customers;
