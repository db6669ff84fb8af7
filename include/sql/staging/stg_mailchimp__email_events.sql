-- grain: one thing that became of one recipient's e-mail        key: (account, external_id)
-- reads: mkt_raw.mailchimp__sent, mailchimp__email_activity, mailchimp__opens,
--        mailchimp__unsubscribes, mailchimp__complaints, mailchimp__campaigns, mailchimp__members
-- rerun: replaces the view, which holds no data
--
-- A report names a recipient by the hash of the address: once a member has another address, its
-- older events are found by no contact, and show the address alone. Opens are those of the report
-- that tells machines from people; the activity shows them too, without that.

create or replace view mkt_staging.mailchimp__email_events as
with found as (
    select
        account,
        'sent:' || id as external_id,
        campaign_id,
        list_id,
        email_hash,
        email,
        'email_sent' as event_type,
        sent_at as occurred_at,
        null as url,
        false as is_machine,
        jsonb_strip_nulls(jsonb_build_object('status', status, 'variant', absplit_group))
            as properties,
        is_deleted,
        sync_run_id
    from mkt_raw.mailchimp__sent
    union all
    select
        account,
        'activity:' || id as external_id,
        campaign_id,
        list_id,
        email_hash,
        email,
        case action
            when 'click' then 'email_clicked'
            when 'bounce' then 'email_bounced'
        end as event_type,
        occurred_at,
        url,
        false as is_machine,
        jsonb_strip_nulls(jsonb_build_object('bounce_type', type)) as properties,
        is_deleted,
        sync_run_id
    from mkt_raw.mailchimp__email_activity
    where action in ('click', 'bounce')
    union all
    select
        account,
        'open:' || id as external_id,
        campaign_id,
        list_id,
        email_hash,
        email,
        'email_opened' as event_type,
        occurred_at,
        null as url,
        coalesce(is_machine, false) as is_machine,
        '{}'::jsonb as properties,
        is_deleted,
        sync_run_id
    from mkt_raw.mailchimp__opens
    union all
    select
        account,
        'unsubscribe:' || id as external_id,
        campaign_id,
        list_id,
        email_hash,
        email,
        'unsubscribed' as event_type,
        occurred_at,
        null as url,
        false as is_machine,
        '{}'::jsonb as properties,
        is_deleted,
        sync_run_id
    from mkt_raw.mailchimp__unsubscribes
    union all
    select
        account,
        'complaint:' || id as external_id,
        campaign_id,
        list_id,
        email_hash,
        email,
        'complained' as event_type,
        occurred_at,
        null as url,
        false as is_machine,
        '{}'::jsonb as properties,
        is_deleted,
        sync_run_id
    from mkt_raw.mailchimp__complaints
),

-- read once and joined by hash: there is no index on the address's hash
members as (
    select distinct on (account, list_id, email_hash)
        account,
        list_id,
        email_hash,
        id
    from mkt_raw.mailchimp__members
    order by account, list_id, email_hash, is_deleted, id
)

select
    'mailchimp'::text as system,
    found.account,
    found.external_id,
    members.id as contact_id,
    nullif(lower(trim(found.email)), '') as email,
    found.event_type,
    found.occurred_at,
    coalesce(campaigns.title, campaigns.subject, found.campaign_id) as campaign,
    found.url,
    -- Nobody reads so fast: mail privacy and link scanners open and click as the mail comes in.
    found.is_machine
    or (
        found.event_type in ('email_opened', 'email_clicked')
        and coalesce(found.occurred_at <= campaigns.sent_at + interval '10 seconds', false)
    ) as is_machine,
    found.properties || jsonb_build_object('campaign_id', found.campaign_id) as properties,
    found.is_deleted,
    found.sync_run_id
from found
left join mkt_raw.mailchimp__campaigns as campaigns
    on found.account = campaigns.account and found.campaign_id = campaigns.id
left join members
    on
        found.account = members.account
        and found.list_id = members.list_id
        and found.email_hash = members.email_hash;
