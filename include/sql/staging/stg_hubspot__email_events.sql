-- grain: one thing that became of one recipient's e-mail        key: (account, external_id)
-- reads: mkt_raw.hubspot__email_events
-- rerun: replaces the view, which holds no data
--
-- HubSpot names the recipient by address alone. DROPPED, DEFERRED and the like say nothing about
-- the person and are left out.

create or replace view mkt_staging.hubspot__email_events as
with typed as (
    select
        events.*,
        case
            when events.type = 'SENT' then 'email_sent'
            when events.type = 'DELIVERED' then 'email_delivered'
            when events.type = 'OPEN' then 'email_opened'
            when events.type = 'CLICK' then 'email_clicked'
            when events.type = 'BOUNCE' then 'email_bounced'
            when events.type = 'SPAMREPORT' then 'complained'
            when events.type = 'STATUSCHANGE' and events.portal_status = 'UNSUBSCRIBED'
                then 'unsubscribed'
        end as event_type
    from mkt_raw.hubspot__email_events as events
)

select
    'hubspot'::text as system,
    typed.account,
    typed.id as external_id,
    null::text as contact_id,
    nullif(lower(trim(typed.recipient)), '') as email,
    typed.event_type,
    typed.created_at as occurred_at,
    typed.campaign_id as campaign,
    typed.url,
    typed.event_type in ('email_opened', 'email_clicked')
    and (
        coalesce(typed.is_filtered, false)
        -- Apple and Google fetch the pictures of every mail themselves
        or coalesce(typed.user_agent like '%GoogleImageProxy%', false)
    ) as is_machine,
    jsonb_strip_nulls(
        jsonb_build_object(
            'app', typed.app,
            'bounce_category', typed.category,
            'smtp_status', typed.smtp_status
        )
    ) as properties,
    typed.is_deleted,
    typed.sync_run_id
from typed
where typed.event_type is not null;
