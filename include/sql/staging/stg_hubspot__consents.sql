-- grain: one contact and e-mail subscription     key: (account, external_id, channel, topic)
-- reads: mkt_raw.hubspot__consents, mkt_raw.hubspot__contacts
-- rerun: replaces the view, which holds no data
--
-- The topic is the subscription's name (Product news: product_news); `marketing` is what the
-- contact itself says, which only ever is no. Who left all e-mail is denied every topic, whatever
-- its subscription still says.

create or replace view mkt_staging.hubspot__consents as
with said as not materialized (
    select
        consents.*,
        case consents.status
            when 'SUBSCRIBED' then 'granted'
            when 'UNSUBSCRIBED' then 'denied'
            else 'none'
        end as said_status,
        coalesce(
            nullif(
                trim(
                    both '_'
                    from regexp_replace(lower(consents.subscription), '[^a-z0-9]+', '_', 'g')
                ),
                ''
            ),
            consents.subscription_id
        ) as topic,
        case
            when consents.legal_basis like 'LEGITIMATE_INTEREST%' then 'legitimate_interest'
            when consents.legal_basis = 'PERFORMANCE_OF_CONTRACT' then 'contract'
            when consents.legal_basis = 'CONSENT_WITH_NOTICE' then 'consent'
            else lower(consents.legal_basis)
        end as basis
    from mkt_raw.hubspot__consents as consents
),

-- Apart, so that what a run brought is found by its index.
open as (
    select
        said.account,
        said.contact_id,
        said.topic,
        case when said.is_deleted then 'none' else said.said_status end as status,
        said.basis,
        case when said.status <> 'NOT_SPECIFIED' then said.changed_at end as changed_at,
        said.loaded_at as updated_at,
        said.sync_run_id
    from said
    where
        not exists (
            select 1
            from mkt_raw.hubspot__contacts as contacts
            where
                contacts.account = said.account
                and contacts.id = said.contact_id
                and contacts.is_opted_out
        )
),

closed as (
    select
        said.account,
        said.contact_id,
        said.topic,
        'denied' as status,
        said.basis,
        case
            when said.status = 'UNSUBSCRIBED' then said.changed_at
            else contacts.updated_at
        end as changed_at,
        greatest(said.loaded_at, contacts.loaded_at) as updated_at,
        greatest(said.sync_run_id, contacts.sync_run_id) as sync_run_id
    from mkt_raw.hubspot__contacts as contacts
    inner join said on contacts.account = said.account and contacts.id = said.contact_id
    where contacts.is_opted_out
),

general as (
    select
        contacts.account,
        contacts.id as contact_id,
        'marketing' as topic,
        case when contacts.is_opted_out then 'denied' else 'none' end as status,
        null as basis,
        contacts.updated_at as changed_at,
        coalesce(contacts.source_updated_at, contacts.loaded_at) as updated_at,
        contacts.sync_run_id
    from mkt_raw.hubspot__contacts as contacts
    where contacts.is_opted_out is not null
)

select
    'hubspot'::text as system,
    found.account,
    found.contact_id as external_id,
    'email'::text as channel,
    found.topic,
    found.status,
    found.basis as legal_basis,
    found.changed_at,
    found.updated_at,
    found.sync_run_id
from (
    select * from open
    union all
    select * from closed
    union all
    select * from general
) as found;
